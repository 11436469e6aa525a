//! RDTs for concrete paths: those who want one at the same time share a call of the Tokens API.
//!
//! Job: while a call is under way or waits for its place, gather who else wants an RDT of the same template, and ask for all
//! of them at once, [`MOST`] paths at most.
//! Invariants: one call at a time for a tenant and template; a caller that goes away is not asked for; the token is kept
//! nowhere, so that it is zeroized when the last of its callers is done with it; callers end no call.
//! Failure mode: where one path among several may be to blame, the call is repeated in halves, until the one is alone.
//! Source: Tokens API 2021-03-01 (at most 50 resources in a call); SP-API facts, section 5.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::restricted::{Resource, Restricted};
use super::{Cause, Issued};
use crate::task::Tasks;
use crate::telemetry::event::{Event, Events, Exchange};

/// Most paths in one call.
const MOST: usize = 50;

/// Who waits, by the class of the resource. An entry is there as long as a task works it off.
type Queues = HashMap<Resource, VecDeque<Want>>;

/// Shared calls.
#[derive(Debug)]
pub(super) struct Batches {
    desk: Arc<Desk>,
    tasks: Tasks,
}

#[derive(Debug)]
struct Desk {
    restricted: Arc<Restricted>,
    queues: Mutex<Queues>,
    events: Events,
}

/// One who waits for an RDT.
#[derive(Debug)]
struct Want {
    resource: Resource,
    answer: oneshot::Sender<Result<Issued, Cause>>,
}

impl Batches {
    pub(super) fn new(restricted: Arc<Restricted>, tasks: Tasks, events: Events) -> Self {
        let desk = Desk {
            restricted,
            queues: Mutex::default(),
            events,
        };
        Self {
            desk: Arc::new(desk),
            tasks,
        }
    }

    /// An RDT that covers this resource, and perhaps others of its template.
    pub(super) async fn one(&self, resource: Resource) -> Result<Issued, Cause> {
        let class = class(&resource);
        let (answer, waiting) = oneshot::channel();
        let want = Want { resource, answer };
        let begins = {
            let mut queues = self.desk.queues();
            let begins = !queues.contains_key(&class);
            queues.entry(class.clone()).or_default().push_back(want);
            begins
        };
        if begins {
            let work = Work {
                desk: Arc::clone(&self.desk),
                class,
                done: false,
            };
            let _detached = self.tasks.control("rdt", work.run());
        }
        waiting.await.unwrap_or(Err(Cause::Interrupted))
    }
}

/// Paths of one template share a call whatever their data elements.
fn class(resource: &Resource) -> Resource {
    let mut class = resource.class();
    class.data_elements = Arc::default();
    class
}

impl Desk {
    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task that works off one queue.
struct Work {
    desk: Arc<Desk>,
    class: Resource,
    done: bool,
}

impl Work {
    async fn run(mut self) {
        let mut halves: Vec<Vec<Want>> = Vec::new();
        while !halves.is_empty() || self.somebody_waits() {
            let place = self.desk.restricted.place(&self.class.tenant).await;
            // only now: whoever came while the call waited for its place goes along
            let batch = halves.pop().unwrap_or_else(|| self.next_batch());
            match place {
                Ok(()) => halves.extend(self.call(batch).await),
                Err(cause) => answer(batch, &Err(cause)),
            }
        }
    }

    /// Whether there is more to do; the queue is taken away where there is not.
    fn somebody_waits(&mut self) -> bool {
        let mut queues = self.desk.queues();
        if let Some(queue) = queues.get_mut(&self.class) {
            queue.retain(|want| !want.answer.is_closed());
            if !queue.is_empty() {
                return true;
            }
        }
        queues.remove(&self.class);
        self.done = true;
        false
    }

    /// The first in the queue, up to [`MOST`] paths.
    fn next_batch(&self) -> Vec<Want> {
        let mut queues = self.desk.queues();
        let Some(queue) = queues.get_mut(&self.class) else {
            return Vec::new();
        };
        queue.retain(|want| !want.answer.is_closed());
        let mut paths = HashSet::new();
        let mut batch = Vec::new();
        while let Some(want) = queue.pop_front() {
            let path = Arc::clone(&want.resource.path);
            if paths.len() == MOST && !paths.contains(&path) {
                queue.push_front(want);
                break;
            }
            paths.insert(path);
            batch.push(want);
        }
        batch
    }

    /// One call for a batch; what is left of it where it has to be asked for in parts.
    async fn call(&self, mut batch: Vec<Want>) -> Vec<Vec<Want>> {
        let resources: Vec<Resource> = batch.iter().map(|want| want.resource.clone()).collect();
        if resources.is_empty() {
            return Vec::new();
        }
        let asked = self.desk.restricted.ask(&resources).await;
        self.note(&asked.as_ref().map_err(|refused| &refused.cause));
        match asked {
            Err(refused) if !refused.all && batch.len() > 1 => {
                let second = batch.split_off(batch.len() / 2);
                vec![second, batch]
            }
            other => {
                answer(batch, &other.map_err(|refused| refused.cause));
                Vec::new()
            }
        }
    }

    fn note(&self, asked: &Result<&Issued, &Cause>) {
        self.desk.events.note(&Event::Exchange(Exchange {
            tenant: &self.class.tenant.id,
            app: None,
            kind: "rdt",
            forced: false,
            result: match asked {
                Ok(issued) => Ok(issued.life.end.saturating_duration_since(Instant::now())),
                Err(cause) => Err(cause.as_str()),
            },
            shared: false,
        }));
    }
}

fn answer(batch: Vec<Want>, with: &Result<Issued, Cause>) {
    for want in batch {
        // whoever has gone away in the meantime needs none
        let _gone = want.answer.send(with.clone());
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // a task that ended before its time leaves nobody waiting
        if !self.done {
            self.desk.queues().remove(&self.class);
        }
    }
}

#[cfg(test)]
mod tests;

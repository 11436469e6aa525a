//! The desk under every schedule that shuttle tries: callers, exchanges, refusals and a kill, interleaved at each lock.
//!
//! The room below is what `cache` builds around the desks, with shuttle's locks and threads in the place of tokio's tasks.

use shuttle::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use shuttle::sync::{Arc, Condvar, Mutex, RwLock};
use shuttle::thread;

use super::*;

/// Schedules tried for each property and strategy.
const SCHEDULES: usize = 2000;

/// An exchange that callers wait for.
#[derive(Default)]
struct Flight {
    result: Mutex<Option<Result<u64, &'static str>>>,
    landed: Condvar,
}

impl Flight {
    fn wait(&self) -> Result<u64, &'static str> {
        let mut result = self.result.lock().unwrap();
        loop {
            match &*result {
                Some(result) => return *result,
                None => result = self.landed.wait(result).unwrap(),
            }
        }
    }
}

#[derive(Default)]
struct Room {
    desks: Mutex<Desks<u8, Arc<Flight>>>,
    /// The number of the flight that brought the token in memory.
    shelf: RwLock<Option<u64>>,
    exchanges: AtomicU64,
    exchanging: AtomicUsize,
    /// Whether exchanges fail.
    fails: bool,
}

impl Room {
    fn usable(self: &Arc<Self>) -> Result<u64, &'static str> {
        if let Some(token) = *self.shelf.read().unwrap() {
            return Ok(token);
        }
        let flight = self.join(&mut self.desks.lock().unwrap());
        flight?.wait()
    }

    /// A flight to wait for. The guard is the caller's, and is gone before it waits.
    fn join(
        self: &Arc<Self>,
        desks: &mut Desks<u8, Arc<Flight>>,
    ) -> Result<Arc<Flight>, &'static str> {
        let course = desks.ask(
            &1,
            Instant::now(),
            || *self.shelf.read().unwrap(),
            |departure| {
                let flight = Arc::new(Flight::default());
                let (room, theirs) = (Arc::clone(self), Arc::clone(&flight));
                thread::spawn(move || room.exchange(departure, &theirs));
                flight
            },
        );
        match course {
            Ok(Course::Wait(flight)) => Ok(flight),
            Ok(Course::Landed(token)) => {
                let flight = Flight::default();
                *flight.result.lock().unwrap() = Some(Ok(token));
                Ok(Arc::new(flight))
            }
            Err(_failure) => Err("a moment ago"),
        }
    }

    fn exchange(&self, departure: Departure, flight: &Flight) {
        self.exchanges.fetch_add(1, Ordering::SeqCst);
        self.exchanging.fetch_add(1, Ordering::SeqCst);
        thread::yield_now();
        let outcome = if self.fails {
            Err(Cause::Interrupted)
        } else {
            Ok(())
        };
        let mut desks = self.desks.lock().unwrap();
        // before the landing lets the next one begin
        self.exchanging.fetch_sub(1, Ordering::SeqCst);
        let result = match desks.land(&1, departure, outcome, Instant::now(), 0.0) {
            Landing::Kept(_) => {
                *self.shelf.write().unwrap() = Some(departure.flight);
                Ok(departure.flight)
            }
            Landing::Failed(..) => Err("failed"),
            Landing::Stale => Err("stale"),
        };
        drop(desks);
        *flight.result.lock().unwrap() = Some(result);
        flight.landed.notify_all();
    }

    fn refuse(&self, token: u64) -> bool {
        let mut desks = self.desks.lock().unwrap();
        let mut shelf = self.shelf.write().unwrap();
        if *shelf != Some(token) {
            return true;
        }
        let refused = Refused {
            age: Duration::ZERO,
            was_accepted: true,
            replaces: 0,
        };
        let helps = desks.refuse(&1, refused);
        if helps {
            *shelf = None;
        }
        helps
    }

    /// The number of the last flight that had begun by then.
    fn forget(&self) -> u64 {
        let mut desks = self.desks.lock().unwrap();
        desks.forget(|_| true);
        *self.shelf.write().unwrap() = None;
        desks.departures
    }

    fn renew(self: &Arc<Self>) -> (u64, Result<u64, &'static str>) {
        let mut begun = 0;
        for _ in 0..8 {
            let mut desks = self.desks.lock().unwrap();
            begun = begun.max(desks.departures);
            let Some(under_way) = desks.demand(&1) else {
                let flight = self.join(&mut desks);
                drop(desks);
                return (begun, flight.and_then(|flight| flight.wait()));
            };
            drop(desks);
            let _ended = under_way.wait();
        }
        panic!("eight exchanges by somebody else in a row");
    }
}

/// Runs a scene under random schedules and under those that look for rare orders.
fn under_every_schedule(scene: impl Fn() + Send + Sync + Clone + 'static) {
    shuttle::check_random(scene.clone(), SCHEDULES);
    shuttle::check_pct(scene, SCHEDULES, 3);
}

#[test]
fn callers_that_meet_share_one_exchange() {
    under_every_schedule(|| {
        let room = Arc::new(Room::default());
        let callers: Vec<_> = (0..3)
            .map(|_| {
                let room = Arc::clone(&room);
                thread::spawn(move || room.usable())
            })
            .collect();
        for caller in callers {
            assert_eq!(caller.join().unwrap(), Ok(1));
        }
        assert_eq!(room.exchanges.load(Ordering::SeqCst), 1);
        assert!(room.desks.lock().unwrap().desks.is_empty());
    });
}

#[test]
fn a_refused_token_is_replaced_once_and_given_to_nobody_again() {
    under_every_schedule(|| {
        let room = Arc::new(Room::default());
        let callers: Vec<_> = (0..3)
            .map(|_| {
                let room = Arc::clone(&room);
                thread::spawn(move || {
                    let first = room.usable().unwrap();
                    assert!(room.refuse(first));
                    let second = room.usable().unwrap();
                    assert_ne!(second, first, "refused, and handed out again");
                })
            })
            .collect();
        for caller in callers {
            caller.join().unwrap();
        }
        let exchanges = room.exchanges.load(Ordering::SeqCst);
        // each caller refuses one token, and three callers can hold three different ones
        assert!((2..=4).contains(&exchanges), "{exchanges}");
        assert_eq!(room.exchanging.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn at_most_one_exchange_is_under_way_whatever_is_refused_and_renewed() {
    under_every_schedule(|| {
        let room = Arc::new(Room::default());
        let refuser = Arc::clone(&room);
        let refuser = thread::spawn(move || {
            let token = refuser.usable().unwrap();
            refuser.refuse(token);
            assert!(refuser.exchanging.load(Ordering::SeqCst) <= 1);
            refuser.usable().unwrap();
        });
        let renewer = Arc::clone(&room);
        let renewer = thread::spawn(move || {
            let (begun, renewed) = renewer.renew();
            assert!(renewer.exchanging.load(Ordering::SeqCst) <= 1);
            assert!(renewed.unwrap() > begun, "renewed by an older exchange");
        });
        refuser.join().unwrap();
        renewer.join().unwrap();
    });
}

#[test]
fn what_was_under_way_when_a_tenant_was_forgotten_lands_nowhere() {
    under_every_schedule(|| {
        let room = Arc::new(Room::default());
        let callers: Vec<_> = (0..2)
            .map(|_| {
                let room = Arc::clone(&room);
                // it may be told that it was interrupted, but it is told
                thread::spawn(move || room.usable())
            })
            .collect();
        let killer = Arc::clone(&room);
        let killer = thread::spawn(move || killer.forget());
        for caller in callers {
            let _told = caller.join().unwrap();
        }
        let begun = killer.join().unwrap();
        let held = *room.shelf.read().unwrap();
        assert!(held.is_none_or(|token| token > begun), "{held:?} {begun}");
        assert!(room.desks.lock().unwrap().desks.is_empty());
    });
}

#[test]
fn after_a_failure_nobody_exchanges_until_the_pause_is_over() {
    under_every_schedule(|| {
        let room = Arc::new(Room {
            fails: true,
            ..Room::default()
        });
        let callers: Vec<_> = (0..3)
            .map(|_| {
                let room = Arc::clone(&room);
                thread::spawn(move || room.usable())
            })
            .collect();
        for caller in callers {
            assert!(caller.join().unwrap().is_err());
        }
        assert_eq!(room.exchanges.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn pauses_double_up_to_half_a_minute_and_are_spread_over_a_quarter() {
    for (failures, draw, want) in [
        (0, 0.0, 1000),
        (0, 1.0, 750),
        (1, 0.0, 2000),
        (4, 0.5, 14_000),
        (5, 0.0, 30_000),
        (60, 0.0, 30_000),
        (u32::MAX, 1.0, 22_500),
    ] {
        let want = Duration::from_millis(want);
        assert_eq!(pause_after(failures, draw), want, "{failures} {draw}");
    }
}

#[test]
fn a_refusal_while_a_flight_is_under_way_counts_for_the_token_that_it_brings() {
    let mut desks: Desks<u8, u64> = Desks::default();
    let mut begun = None;
    let now = Instant::now();
    let course = desks.ask(
        &1,
        now,
        || None::<()>,
        |departure| {
            begun = Some(departure);
            departure.flight
        },
    );
    assert!(matches!(course, Ok(Course::Wait(1))));
    let refused = Refused {
        age: Duration::ZERO,
        was_accepted: false,
        replaces: 0,
    };
    assert!(desks.refuse(&1, refused));
    let landing = desks.land(&1, begun.unwrap(), Ok(()), now, 0.0);
    assert!(matches!(landing, Landing::Kept(1)), "{landing:?}");
    assert!(desks.desks.is_empty());
}

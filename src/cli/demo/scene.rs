//! The calls that the played program makes, and what each has to come to.

use http::Method;

use super::Complaint;
use super::play::{Player, Seen};
use super::world::World;
use crate::sandbox::{Fault, Received};
use crate::secret::fingerprint;

const NA: &str = "https://sellingpartnerapi-na.amazon.com";
const EU: &str = "https://sellingpartnerapi-eu.amazon.com";
const ORDERS: &str = "/orders/v0/orders?CreatedAfter=2026-01-01T00:00:00Z&MarketplaceIds=";
const ADDRESS: &str = "/orders/v0/orders/902-3159896-1390916/address";

/// A token that a program could have kept from earlier days.
const LEFT_OVER: &str = "Atza|left-over-from-before-the-sidecar";

/// One line of the table.
pub(super) struct Row {
    /// What was called.
    pub(super) call: String,
    /// Which credential the program sent.
    pub(super) sent: String,
    /// Which credential Amazon received, as kind and fingerprint.
    pub(super) received: String,
    /// What the program got.
    pub(super) answer: String,
    /// Why.
    pub(super) why: String,
    /// What came out otherwise than it has to.
    pub(super) surprise: Option<String>,
}

/// Which credential the program sends.
#[derive(Clone, Copy)]
enum Sent<'a> {
    /// None at all.
    Nothing,
    /// What an SDK is configured with when nobody cares whose call it is.
    Placeholder,
    /// A phantom access token of tenant beta.
    Phantom(&'a str),
    /// A token that Amazon issued, from earlier days.
    LeftOver,
}

impl<'a> Sent<'a> {
    const fn value(self) -> Option<&'a str> {
        match self {
            Self::Nothing => None,
            Self::Placeholder => Some("spx-placeholder"),
            Self::Phantom(text) => Some(text),
            Self::LeftOver => Some(LEFT_OVER),
        }
    }

    fn words(self) -> String {
        match self {
            Self::Nothing => "nothing".to_owned(),
            Self::Placeholder => "placeholder".to_owned(),
            Self::Phantom(_) => "phantom of beta".to_owned(),
            Self::LeftOver => format!("a real token ·{}", fingerprint(LEFT_OVER)),
        }
    }
}

/// What arrives at Amazon.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Upstream {
    /// Nothing.
    Nothing,
    /// A call without any token.
    NoToken,
    /// A call with a token of this kind.
    Token(&'static str),
}

impl Upstream {
    fn words(self) -> String {
        match self {
            Self::Nothing => "nothing upstream".to_owned(),
            Self::NoToken => "a call without a token upstream".to_owned(),
            Self::Token(kind) => format!("a token of kind {kind} upstream"),
        }
    }
}

/// One call: how the table names it, what it is, and what it has to come to.
struct Scene<'a> {
    call: &'a str,
    url: &'a str,
    sent: Sent<'a>,
    answer: &'static str,
    upstream: Upstream,
    why: &'static str,
}

const ACCESS: Upstream = Upstream::Token("access");

/// Plays every scene.
pub(super) async fn play_all(world: &World, player: &Player) -> Result<Vec<Row>, Complaint> {
    let mut stage = Stage {
        world,
        player,
        rows: Vec::new(),
        seen: 0,
    };
    stage.catch_up();
    let vended = injected(&mut stage).await?;
    swapped(&mut stage).await?;
    documents(&mut stage).await?;
    refused(&mut stage, &vended).await?;
    troubled(&mut stage).await?;
    Ok(stage.rows)
}

/// What goes out with a token of the right tenant and kind. Returns beta's phantom access token.
async fn injected(stage: &mut Stage<'_>) -> Result<String, Complaint> {
    let na = format!("{NA}{ORDERS}ATVPDKIKX0DER");
    let orders = "GET na /orders/v0/orders";
    stage
        .get(Scene {
            call: orders,
            url: &na,
            sent: Sent::Placeholder,
            answer: "200",
            upstream: ACCESS,
            why: "injected: default tenant acme",
        })
        .await?;
    let acme = stage.token();

    let form = format!(
        "grant_type=refresh_token&refresh_token={}&client_id=spx-placeholder&client_secret=spx-placeholder",
        stage.world.phantom("beta")?
    );
    let lwa = "https://api.amazon.com/auth/o2/token";
    let answer = stage
        .post(
            &form,
            Scene {
                call: "POST api.amazon.com /auth/o2/token",
                url: lwa,
                sent: Sent::Nothing,
                answer: "200",
                upstream: Upstream::Nothing,
                why: "beta's phantom, answered here: nothing went out",
            },
        )
        .await?;
    let vended = answer.text("/access_token").unwrap_or_default();

    let eu = format!("{EU}{ORDERS}A1F83G8C2ARO7P");
    stage
        .get(Scene {
            call: "GET eu /orders/v0/orders",
            url: &eu,
            sent: Sent::Phantom(&vended),
            answer: "200",
            upstream: ACCESS,
            why: "injected: the phantom names tenant beta",
        })
        .await?;
    stage.expect(stage.token() != acme, "acme and beta got the same token");

    stage
        .get(Scene {
            call: orders,
            url: &na,
            sent: Sent::LeftOver,
            answer: "200",
            upstream: ACCESS,
            why: "the program's token was dropped, acme's injected",
        })
        .await?;
    stage.expect(stage.token() == acme, "the program's own token got through");

    Ok(vended)
}

/// What goes out with another token than the tenant's own.
async fn swapped(stage: &mut Stage<'_>) -> Result<(), Complaint> {
    let address = format!("{NA}{ADDRESS}");
    stage
        .get(Scene {
            call: "GET na /orders/v0/orders/{orderId}/address",
            url: &address,
            sent: Sent::Placeholder,
            answer: "200",
            upstream: Upstream::Token("rdt"),
            why: "swapped to a restricted data token",
        })
        .await?;

    let destination = r#"{"name":"demo","resourceSpecification":{"sqs":{"arn":"arn:aws:sqs:us-east-2:444455556666:demo"}}}"#;
    let url = format!("{NA}/notifications/v1/destinations");
    stage
        .post(
            destination,
            Scene {
                call: "POST na /notifications/v1/destinations",
                url: &url,
                sent: Sent::Placeholder,
                answer: "200",
                upstream: Upstream::Token("grantless"),
                why: "grantless: a client-credentials token",
            },
        )
        .await?;
    Ok(())
}

/// A document URL is usable once SP-API has handed it out, and carries no credential.
async fn documents(stage: &mut Stage<'_>) -> Result<(), Complaint> {
    let report = format!("{NA}/reports/2021-06-30/documents/amzn1.spdoc.1.4.na.demo");
    let answer = stage
        .get(Scene {
            call: "GET na /reports/…/documents/{id}",
            url: &report,
            sent: Sent::Placeholder,
            answer: "200",
            upstream: ACCESS,
            why: "its document URL is learnt",
        })
        .await?;
    let url = answer.text("/url").unwrap_or_default();
    stage
        .get(Scene {
            call: "GET that document",
            url: &url,
            sent: Sent::Nothing,
            answer: "200",
            upstream: Upstream::NoToken,
            why: "handed out to acme: relayed without a credential",
        })
        .await?;
    let other = "https://sandbox-documents.s3.amazonaws.com/anything";
    stage
        .get(Scene {
            call: "GET another document",
            url: other,
            sent: Sent::Nothing,
            answer: "document_denied",
            upstream: Upstream::Nothing,
            why: "not handed out by SP-API",
        })
        .await?;
    Ok(())
}

/// What policy refuses. Of all this nothing may reach Amazon.
async fn refused(stage: &mut Stage<'_>, beta: &str) -> Result<(), Complaint> {
    let answer = stage.player.connect("evil.example:443").await?;
    stage.note(
        &Scene {
            call: "CONNECT evil.example:443",
            url: "",
            sent: Sent::Nothing,
            answer: "egress_denied",
            upstream: Upstream::Nothing,
            why: "refused by host",
        },
        &answer,
    );
    for (call, url, sent, answer, why) in [
        (
            "GET na /finances/v0/financialEvents",
            format!("{NA}/finances/v0/financialEvents"),
            Sent::Placeholder,
            "route_denied",
            "refused by route",
        ),
        (
            "GET eu /orders/v0/orders/{orderId}/address",
            format!("{EU}{ADDRESS}"),
            Sent::Phantom(beta),
            "scope_denied",
            "refused by scope",
        ),
        (
            "GET eu /orders/v0/orders",
            format!("{EU}{ORDERS}ATVPDKIKX0DER"),
            Sent::Placeholder,
            "region_denied",
            "refused by region: acme is na",
        ),
        (
            "GET na /orders/v0/orders",
            format!("{NA}{ORDERS}A1F83G8C2ARO7P"),
            Sent::Placeholder,
            "marketplace_denied",
            "refused by marketplace",
        ),
        (
            "GET na /orders//v0/orders",
            format!("{NA}/orders//v0/orders"),
            Sent::Placeholder,
            "path_ambiguous",
            "two readers could take it for two routes",
        ),
    ] {
        stage
            .get(Scene {
                call,
                url: &url,
                sent,
                answer,
                upstream: Upstream::Nothing,
                why,
            })
            .await?;
    }
    Ok(())
}

/// What goes wrong at Amazon and is mended here.
async fn troubled(stage: &mut Stage<'_>) -> Result<(), Complaint> {
    let url = format!("{NA}{ORDERS}ATVPDKIKX0DER");
    for (fault, call, why) in [
        (
            r#"{"lwa_down":"refuse"}"#,
            "GET na /orders/v0/orders, LWA down",
            "the token in memory is inside its life",
        ),
        (
            r#"{"expire_tokens_now":true}"#,
            "GET na /orders/v0/orders, token expired",
            "Amazon refused it: one exchange, one replay",
        ),
    ] {
        let fault = Fault::parse(fault)
            .map_err(|error| Complaint::while_doing("the demo's fault", error))?;
        stage.world.sandbox.clear_faults();
        stage.world.sandbox.fault(fault);
        stage
            .get(Scene {
                call,
                url: &url,
                sent: Sent::Placeholder,
                answer: "200",
                upstream: ACCESS,
                why,
            })
            .await?;
    }
    Ok(())
}

struct Stage<'a> {
    world: &'a World,
    player: &'a Player,
    rows: Vec<Row>,
    seen: u64,
}

impl Stage<'_> {
    async fn get(&mut self, scene: Scene<'_>) -> Result<Seen, Complaint> {
        let answer = self
            .player
            .call(Method::GET, scene.url, scene.sent.value(), None)
            .await?;
        self.note(&scene, &answer);
        Ok(answer)
    }

    async fn post(&mut self, body: &str, scene: Scene<'_>) -> Result<Seen, Complaint> {
        let answer = self
            .player
            .call(Method::POST, scene.url, scene.sent.value(), Some(body))
            .await?;
        self.note(&scene, &answer);
        Ok(answer)
    }

    /// What reached Amazon since the last look, token requests left out.
    fn catch_up(&mut self) -> Vec<Received> {
        let news = self.world.sandbox.received_since(self.seen);
        self.seen = news.iter().map(|one| one.n).max().unwrap_or(self.seen);
        news.into_iter()
            .filter(|one| {
                one.exchange.is_none()
                    && one.operation.as_deref() != Some("createRestrictedDataToken")
            })
            .collect()
    }

    /// Adds a row, checked against what the scene has to come to.
    fn note(&mut self, scene: &Scene<'_>, answer: &Seen) {
        let news = self.catch_up();
        let last = news.last();
        let token = last.and_then(|one| one.token.as_ref());
        let upstream = match (last, token) {
            (None, _) => Upstream::Nothing,
            (Some(_), None) => Upstream::NoToken,
            (Some(_), Some(token)) => Upstream::Token(token.kind),
        };
        let received = match (last, token) {
            (None, _) => "nothing".to_owned(),
            (Some(_), None) => "no token".to_owned(),
            (Some(_), Some(token)) => format!("{} ·{}", token.kind, token.fingerprint),
        };
        let got = answer
            .code
            .clone()
            .unwrap_or_else(|| answer.status.to_string());
        let right =
            got == scene.answer && upstream == scene.upstream && !last.is_some_and(|one| one.leak);
        let surprise =
            (!right).then(|| format!("wanted {} and {}", scene.answer, scene.upstream.words()));
        let answer = if answer.code.is_some() {
            format!("{} {got}", answer.status)
        } else {
            got
        };
        self.rows.push(Row {
            call: scene.call.to_owned(),
            sent: scene.sent.words(),
            received,
            answer,
            why: scene.why.to_owned(),
            surprise,
        });
    }

    /// What Amazon received in the last row.
    fn token(&self) -> String {
        self.rows
            .last()
            .map(|row| row.received.clone())
            .unwrap_or_default()
    }

    /// Marks the last row when something beside it does not hold.
    fn expect(&mut self, holds: bool, otherwise: &str) {
        if let (false, Some(row)) = (holds, self.rows.last_mut()) {
            row.surprise = Some(otherwise.to_owned());
        }
    }
}

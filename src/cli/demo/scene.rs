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

/// What a scene has to come to.
struct Wanted {
    answer: &'static str,
    token: Upstream,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Upstream {
    /// Nothing arrives.
    Nothing,
    /// A call without any token.
    NoToken,
    /// A call with a token of this kind.
    Token(&'static str),
}

struct Stage<'a> {
    world: &'a World,
    rows: Vec<Row>,
    seen: u64,
}

/// Plays every scene.
pub(super) async fn play_all(world: &World, player: &Player) -> Result<Vec<Row>, Complaint> {
    let mut stage = Stage {
        world,
        rows: Vec::new(),
        seen: 0,
    };
    stage.catch_up();
    let get = |url: String| async move { player_get(player, &url, Some("spx-placeholder")).await };

    let answer = get(format!("{NA}{ORDERS}ATVPDKIKX0DER")).await?;
    let acme = stage.note(
        "GET na /orders/v0/orders",
        "placeholder",
        &answer,
        &Wanted {
            answer: "200",
            token: Upstream::Token("access"),
        },
        "injected: default tenant acme",
    );

    let phantom = world.phantom("beta")?;
    let form = format!(
        "grant_type=refresh_token&refresh_token={phantom}&client_id=spx-placeholder&client_secret=spx-placeholder"
    );
    let answer = player
        .call(
            Method::POST,
            "https://api.amazon.com/auth/o2/token",
            None,
            Some(&form),
        )
        .await?;
    let vended = answer.text("/access_token").unwrap_or_default();
    stage.note(
        "POST api.amazon.com /auth/o2/token",
        "phantom of beta",
        &answer,
        &Wanted {
            answer: "200",
            token: Upstream::Nothing,
        },
        "answered here with a phantom: nothing went out",
    );

    let answer = player_get(
        player,
        &format!("{EU}{ORDERS}A1F83G8C2ARO7P"),
        Some(&vended),
    )
    .await?;
    let beta = stage.note(
        "GET eu /orders/v0/orders",
        "phantom of beta",
        &answer,
        &Wanted {
            answer: "200",
            token: Upstream::Token("access"),
        },
        "injected: the phantom names tenant beta",
    );
    stage.expect(acme != beta, "acme and beta got the same token");

    let answer = player_get(
        player,
        &format!("{NA}{ORDERS}ATVPDKIKX0DER"),
        Some(LEFT_OVER),
    )
    .await?;
    let dropped = stage.note(
        "GET na /orders/v0/orders",
        &format!("a real token ·{}", fingerprint(LEFT_OVER)),
        &answer,
        &Wanted {
            answer: "200",
            token: Upstream::Token("access"),
        },
        "the program's token was dropped, acme's injected",
    );
    stage.expect(dropped == acme, "the program's own token got through");

    let answer = get(format!("{NA}{ADDRESS}")).await?;
    stage.note(
        "GET na /orders/v0/orders/{orderId}/address",
        "placeholder",
        &answer,
        &Wanted {
            answer: "200",
            token: Upstream::Token("rdt"),
        },
        "swapped to a restricted data token",
    );

    let answer = player.call(Method::POST, &format!("{NA}/notifications/v1/destinations"), Some("spx-placeholder"), Some(r#"{"name":"demo","resourceSpecification":{"sqs":{"arn":"arn:aws:sqs:us-east-2:444455556666:demo"}}}"#)).await?;
    stage.note(
        "POST na /notifications/v1/destinations",
        "placeholder",
        &answer,
        &Wanted {
            answer: "200",
            token: Upstream::Token("grantless"),
        },
        "grantless: a client-credentials token",
    );

    let answer = get(format!(
        "{NA}/reports/2021-06-30/documents/amzn1.spdoc.1.4.na.demo"
    ))
    .await?;
    let url = answer.text("/url").unwrap_or_default();
    stage.note(
        "GET na /reports/…/documents/{id}",
        "placeholder",
        &answer,
        &Wanted {
            answer: "200",
            token: Upstream::Token("access"),
        },
        "its document URL is learnt",
    );
    let answer = player_get(player, &url, None).await?;
    stage.note(
        "GET that document",
        "nothing",
        &answer,
        &Wanted {
            answer: "200",
            token: Upstream::NoToken,
        },
        "handed out to acme: relayed without a credential",
    );
    refused(&mut stage, player, &vended).await?;
    troubled(&mut stage, player).await?;
    Ok(stage.rows)
}

/// What policy refuses. Of all this nothing may reach Amazon.
async fn refused(stage: &mut Stage<'_>, player: &Player, beta: &str) -> Result<(), Complaint> {
    let placeholder = Some("spx-placeholder");
    let refused = |code| Wanted {
        answer: code,
        token: Upstream::Nothing,
    };
    let answer = player.connect("evil.example:443").await?;
    stage.note(
        "CONNECT evil.example:443",
        "nothing",
        &answer,
        &refused("egress_denied"),
        "refused by host",
    );
    let answer = player_get(
        player,
        &format!("{NA}/finances/v0/financialEvents"),
        placeholder,
    )
    .await?;
    stage.note(
        "GET na /finances/v0/financialEvents",
        "placeholder",
        &answer,
        &refused("route_denied"),
        "refused by route",
    );
    let answer = player_get(player, &format!("{EU}{ADDRESS}"), Some(beta)).await?;
    stage.note(
        "GET eu /orders/v0/orders/{orderId}/address",
        "phantom of beta",
        &answer,
        &refused("scope_denied"),
        "refused by scope",
    );
    let answer = player_get(player, &format!("{EU}{ORDERS}ATVPDKIKX0DER"), placeholder).await?;
    stage.note(
        "GET eu /orders/v0/orders",
        "placeholder",
        &answer,
        &refused("region_denied"),
        "refused by region: acme is na",
    );
    let answer = player_get(player, &format!("{NA}{ORDERS}A1F83G8C2ARO7P"), placeholder).await?;
    stage.note(
        "GET na /orders/v0/orders",
        "placeholder",
        &answer,
        &refused("marketplace_denied"),
        "refused by marketplace",
    );
    let answer = player_get(player, &format!("{NA}/orders//v0/orders"), placeholder).await?;
    stage.note(
        "GET na /orders//v0/orders",
        "placeholder",
        &answer,
        &refused("path_ambiguous"),
        "two readers could take it for two routes",
    );
    let answer = player_get(
        player,
        "https://sandbox-documents.s3.amazonaws.com/anything",
        None,
    )
    .await?;
    stage.note(
        "GET another document",
        "nothing",
        &answer,
        &refused("document_denied"),
        "not handed out by SP-API",
    );
    Ok(())
}

/// What goes wrong at Amazon and is mended here.
async fn troubled(stage: &mut Stage<'_>, player: &Player) -> Result<(), Complaint> {
    let fault = |json: &str| {
        Fault::parse(json).map_err(|error| Complaint::while_doing("the demo's fault", error))
    };
    stage
        .world
        .sandbox
        .fault(fault(r#"{"lwa_down":"refuse"}"#)?);
    let answer = player_get(
        player,
        &format!("{NA}{ORDERS}ATVPDKIKX0DER"),
        Some("spx-placeholder"),
    )
    .await?;
    stage.note(
        "GET na /orders/v0/orders, LWA down",
        "placeholder",
        &answer,
        &Wanted {
            answer: "200",
            token: Upstream::Token("access"),
        },
        "the token in memory is inside its life",
    );
    stage.world.sandbox.clear_faults();
    stage
        .world
        .sandbox
        .fault(fault(r#"{"expire_tokens_now":true}"#)?);
    let answer = player_get(
        player,
        &format!("{NA}{ORDERS}ATVPDKIKX0DER"),
        Some("spx-placeholder"),
    )
    .await?;
    stage.note(
        "GET na /orders/v0/orders, token expired",
        "placeholder",
        &answer,
        &Wanted {
            answer: "200",
            token: Upstream::Token("access"),
        },
        "Amazon refused it: one exchange, one replay",
    );
    Ok(())
}

async fn player_get(
    player: &Player,
    url: &str,
    credential: Option<&str>,
) -> Result<Seen, Complaint> {
    player.call(Method::GET, url, credential, None).await
}

impl Stage<'_> {
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

    /// Adds a row; returns the token that Amazon received, as kind and fingerprint.
    fn note(
        &mut self,
        call: &str,
        sent: &str,
        answer: &Seen,
        wanted: &Wanted,
        why: &str,
    ) -> String {
        let news = self.catch_up();
        let last = news.last();
        let (received, upstream) = match last {
            None => ("nothing".to_owned(), Upstream::Nothing),
            Some(one) => {
                one.token
                    .as_ref()
                    .map_or(("no token".to_owned(), Upstream::NoToken), |token| {
                        (
                            format!("{} ·{}", token.kind, token.fingerprint),
                            Upstream::Token(token.kind),
                        )
                    })
            }
        };
        let got = answer
            .code
            .clone()
            .unwrap_or_else(|| answer.status.to_string());
        let right =
            got == wanted.answer && upstream == wanted.token && !last.is_some_and(|one| one.leak);
        let surprise =
            (!right).then(|| format!("wanted {} and {}", wanted.answer, wanted.token.words()));
        let answer = if answer.code.is_some() {
            format!("{} {got}", answer.status)
        } else {
            got
        };
        self.rows.push(Row {
            call: call.to_owned(),
            sent: sent.to_owned(),
            received: received.clone(),
            answer,
            why: why.to_owned(),
            surprise,
        });
        received
    }

    /// Marks the last row when something beside it does not hold.
    fn expect(&mut self, holds: bool, otherwise: &str) {
        if let (false, Some(row)) = (holds, self.rows.last_mut()) {
            row.surprise = Some(otherwise.to_owned());
        }
    }
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

//! `routes`: what else an entry may say than a method and a path.

use super::ORDERS;
use crate::support::sidecar::{NA, Setup, TestSidecar};
use crate::support::wire::request;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_id_allows_what_its_method_and_path_would() {
    let sidecar = TestSidecar::with(Setup {
        routes: "\n  - { allow: [orders/v0/getOrders, getMarketplaceParticipations], scope: inventory-and-order-tracking }\n"
            .to_owned(),
        ..Setup::default()
    })
    .await;
    for (target, served) in [
        (ORDERS, true),
        ("/sellers/v1/marketplaceParticipations", true),
        ("/sellers/v1/account", false),
        ("/orders/v0/orders/902-1", false),
    ] {
        let answer = sidecar.call(target, &[]).await;
        if served {
            assert_eq!(answer.status, 200, "{target}");
        } else {
            assert_eq!(
                answer.refused(),
                (403, "route_denied".to_owned()),
                "{target}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encoded_slash_is_data_where_the_route_says_so_and_nowhere_else() {
    let base = Setup::default();
    let order = "\"GET /orders/v0/orders/{orderId}\", scope: direct-to-consumer-shipping,";
    let open = base
        .routes
        .replace(order, &format!("{order} encoded_slash: true,"));
    assert_ne!(open, base.routes);
    let target = "/orders/v0/orders/902%2F1";
    for (routes, served) in [(open, true), (base.routes.clone(), false)] {
        let sidecar = TestSidecar::with(Setup {
            routes,
            ..Setup::default()
        })
        .await;
        let answer = sidecar.call(target, &[]).await;
        if served {
            assert_eq!(sidecar.received()[0].target, target, "{answer:?}");
        } else {
            assert_eq!(answer.refused(), (400, "path_ambiguous".to_owned()));
            assert_eq!(sidecar.received(), []);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grantless_route_takes_a_client_credentials_token_of_its_scope() {
    let sidecar = TestSidecar::start().await;
    let body =
        r#"{"name":"x","resourceSpecification":{"sqs":{"arn":"arn:aws:sqs:us-east-2:1:x"}}}"#;
    let fields = [("content-type", "application/json")];
    let call = request("POST", NA, "/notifications/v1/destinations", &fields, body);
    let answer = sidecar.inside(NA).await.ask(call).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let token = sidecar.received()[0].token.clone().unwrap();
    assert_eq!(token.kind, "grantless");
    let asked: Vec<String> = sidecar
        .sandbox
        .received()
        .into_iter()
        .filter_map(|one| Some(one.exchange?.grant_type))
        .filter(|kind| kind == "client_credentials")
        .collect();
    assert_eq!(asked.len(), 1);
}

use super::*;
use crate::config::{Account, Environment, Preflight, Region};

fn tenant() -> Arc<Tenant> {
    Arc::new(Tenant {
        id: TenantId::parse("acme").unwrap(),
        app: AppId::parse("erp").unwrap(),
        account: Account::Seller,
        region: Region::Na,
        environment: Environment::Production,
        marketplaces: Vec::new(),
        vendor_groups: Vec::new(),
        scopes: Vec::new(),
        preflight: Preflight::Optional,
    })
}

fn resource(elements: &[&str]) -> Resource {
    let elements: Vec<String> = elements.iter().map(|&one| one.to_owned()).collect();
    Resource::generic(
        tenant(),
        Authority::parse("a.example:443").unwrap(),
        http::Method::GET,
        "/orders/v0/orders/{orderId}".into(),
        elements.into(),
    )
}

fn answer(status: u16, body: impl Into<Bytes>) -> Answer {
    Answer {
        status,
        date: None,
        body: body.into(),
    }
}

#[test]
fn both_shapes_of_an_answer_are_read() {
    for body in [
        r#"{"restrictedDataToken":"Atz.sprdt|x","expiresIn":3600}"#,
        r#"{"payload":{"restrictedDataToken":"Atz.sprdt|x","expiresIn":3600}}"#,
    ] {
        let (token, life) = read(&answer(200, body)).unwrap();
        assert_eq!((token.expose(), life), ("Atz.sprdt|x", 3600));
    }
}

#[test]
fn a_refusal_blames_the_access_token_only_where_it_says_so_and_one_resource_only_where_it_may() {
    for (status, message, details, want, all) in [
        (
            403,
            "",
            "The access token you provided has expired.",
            "rdt_access_refused",
            true,
        ),
        (401, "", "", "rdt_access_refused", true),
        (403, "", "", "rdt_refused", true),
        (
            400,
            "Application does not have access to one or more requested data elements: [buyerInfo]",
            "",
            "rdt_refused",
            true,
        ),
        (
            400,
            "The path is not a restricted resource.",
            "",
            "rdt_refused",
            false,
        ),
        (429, "", "", "rdt_throttled", true),
        (503, "", "", "lwa_unreachable", true),
    ] {
        let body = json!({"errors": [{"code": "x", "message": message, "details": details}]});
        let refused = read(&answer(status, body.to_string()))
            .map(drop)
            .unwrap_err();
        assert_eq!(
            (refused.cause.as_str(), refused.all),
            (want, all),
            "{status} {message} {details}"
        );
    }
}

#[test]
fn the_body_names_elements_only_where_there_are_some() {
    let of = |elements: &[&str]| body(&[resource(elements)]);
    assert_eq!(&of(&["buyerInfo"])[..], br#"{"restrictedResources":[{"dataElements":["buyerInfo"],"method":"GET","path":"/orders/v0/orders/{orderId}"}]}"#);
    assert_eq!(
        &of(&[])[..],
        br#"{"restrictedResources":[{"method":"GET","path":"/orders/v0/orders/{orderId}"}]}"#
    );
}

#[test]
fn one_path_is_named_once_with_the_elements_of_all_who_ask_for_it() {
    let wanted = [
        resource(&["shippingAddress"]).at("/orders/v0/orders/1"),
        resource(&["buyerInfo"]).at("/orders/v0/orders/2"),
        resource(&["buyerInfo", "shippingAddress"]).at("/orders/v0/orders/1"),
    ];
    assert_eq!(&body(&wanted)[..], br#"{"restrictedResources":[{"dataElements":["buyerInfo","shippingAddress"],"method":"GET","path":"/orders/v0/orders/1"},{"dataElements":["buyerInfo"],"method":"GET","path":"/orders/v0/orders/2"}]}"#);
}

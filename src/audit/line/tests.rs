use super::*;
use crate::tenant::TenantState;

fn json(text: &Text) -> serde_json::Value {
    serde_json::from_str(&format!("{{{}}}", text.as_str())).unwrap()
}

#[test]
fn a_call_says_who_reads_what_kind_of_data_for_whom_and_nothing_of_the_data() {
    let (tenant, app) = (
        TenantId::parse("acme").unwrap(),
        AppId::parse("erp").unwrap(),
    );
    let call = Call {
        request: RequestId(7),
        tenant: &tenant,
        app: &app,
        client: Some([10, 1, 2, 3].into()),
        login: true,
        method: &http::Method::GET,
        host: "sellingpartnerapi-na.amazon.com",
        operation: "getOrderAddress",
        template: "/orders/v0/orders/{orderId}/address",
        data_elements: Some(&["shippingAddress".to_owned()]),
    };
    assert_eq!(
        json(&call.text()),
        serde_json::json!({
            "kind": "request", "request_id": "0000000000000007", "tenant": "acme", "app": "erp", "client": "10.1.2.3",
            "login": true, "method": "GET", "host": "sellingpartnerapi-na.amazon.com", "operation": "getOrderAddress",
            "template": "/orders/v0/orders/{orderId}/address", "rdt": true, "data_elements": ["shippingAddress"],
        })
    );
    let plain = Call {
        data_elements: None,
        client: None,
        ..call
    };
    let plain = json(&plain.text());
    assert_eq!(plain["rdt"], false);
    assert!(plain.get("data_elements").is_none() && plain.get("client").is_none());
}

#[test]
fn what_a_person_wrote_is_one_member_without_tokens_however_it_is_spelt() {
    let tenant = TenantId::parse("acme").unwrap();
    let reason = format!(
        "INC-4711 by anna@example.com: \" newline \n \",\"hash\":\" Atzr|canary-{} {}",
        "x".repeat(20),
        "long ".repeat(200)
    );
    let line = of(&Event::State {
        tenant: &tenant,
        state: TenantState::Killed,
        reason: &reason,
        by: "ops",
    })
    .unwrap();
    let told = json(&line);
    assert_eq!(
        (&told["kind"], &told["by"]),
        (&"state".into(), &"ops".into())
    );
    assert!(!line.as_str().contains("canary") && !line.as_str().contains('\n'));
    let told = told["reason"].as_str().unwrap();
    assert!(told.starts_with("INC-4711 by anna@example.com:"), "{told}");
    assert!(told.chars().count() <= CHARACTERS);
}

#[test]
fn what_is_measured_and_not_decided_has_no_line() {
    for event in [
        Event::PhantomVended { tenant: None },
        Event::RealTokenSeen { tenant: None },
        Event::Store {
            up: true,
            cause: None,
        },
    ] {
        assert_eq!(of(&event), None);
    }
    assert!(of(&Event::Started).is_some());
}

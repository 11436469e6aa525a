//! What operations answer.
//!
//! Job: the shapes of Amazon's models for the operations that client libraries are tried with, and a plain payload for
//! all others.
//! Invariants: personal data, all of it made up, is in an answer only where the token opens that data element; ids are
//! functions of the path, so that two calls agree.

mod orders;

use std::collections::HashMap;

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::call::{Call, MARKETPLACES, Region, Station};
use super::document;
use super::gate::Admitted;
use super::report::{Report, document_id};
use super::respond::{self, Answer, Refusal};
use super::tokens;
use super::world::{World, lock};

const MARKETPLACE: &str = "ATVPDKIKX0DER";

/// Everything that an answer is made of.
struct Asked<'a> {
    world: &'a World,
    admitted: &'a Admitted<'a>,
    arguments: HashMap<&'a str, &'a str>,
    call: &'a Call,
}

impl Asked<'_> {
    /// A parameter of the path, raw.
    fn argument(&self, name: &str) -> &str {
        self.arguments.get(name).copied().unwrap_or_default()
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.admitted.body.get(key).and_then(Value::as_str)
    }

    fn opens(&self, element: &str) -> bool {
        let elements = &self.admitted.data_elements;
        elements.iter().any(|opened| opened == element)
    }

    fn number(&self) -> String {
        lock(&self.world.reports).number()
    }
}

/// Runs an operation.
pub(super) fn answer(
    world: &World,
    call: &Call,
    admitted: &Admitted<'_>,
) -> Result<Answer, Refusal> {
    let operation = admitted.operation;
    let asked = Asked {
        world,
        admitted,
        arguments: operation.arguments(call.path()),
        call,
    };
    let id = operation.operation_id.as_str();
    let value = match operation.api.as_str() {
        "tokens" => return tokens::create(world, admitted),
        "application-management" => return Ok(respond::bare(StatusCode::NO_CONTENT)),
        "orders" => orders::answer(&asked, id),
        "sellers" => Some(sellers(call, id)),
        "reports" => report_answer(&asked, id),
        "feeds" => feed_answer(&asked, id),
        "data-kiosk" => kiosk_answer(&asked, id),
        "notifications" => notification_answer(&asked, id),
        "catalog-items" | "listings-items" | "fba-inventory" | "uploads" => item_answer(&asked, id),
        _ => None,
    };
    if matches!(id, "confirmShipment" | "updateShipmentStatus") {
        return Ok(respond::bare(StatusCode::NO_CONTENT));
    }
    let created = matches!(
        id,
        "createReport" | "createFeed" | "createFeedDocument" | "createQuery"
    );
    let status = if created {
        accepted(id)
    } else {
        StatusCode::OK
    };
    Ok(respond::json(
        status,
        &value.unwrap_or_else(|| generic(&asked)),
    ))
}

fn accepted(id: &str) -> StatusCode {
    if id == "createFeedDocument" {
        StatusCode::CREATED
    } else {
        StatusCode::ACCEPTED
    }
}

/// The path's parameters as a payload: what most of the other operations have in common.
fn generic(asked: &Asked<'_>) -> Value {
    let payload: Map<String, Value> = asked
        .arguments
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!(value)))
        .collect();
    json!({"payload": payload})
}

/// Takes part in every marketplace of the region that is asked.
fn sellers(call: &Call, id: &str) -> Value {
    let region = match call.station {
        Station::SpApi { region, .. } => region.unwrap_or(Region::Na),
        Station::Lwa | Station::Documents | Station::Central | Station::Elsewhere => Region::Na,
    };
    let mut all: Vec<Value> = MARKETPLACES
        .iter()
        .filter(|(_, of)| *of == region)
        .map(|(id, _)| participation(id))
        .collect();
    // the home marketplace first
    all.sort_by_key(|one| {
        one.pointer("/marketplace/id").and_then(Value::as_str) != Some(MARKETPLACE)
    });
    if id == "getAccount" {
        return json!({"payload": {
            "marketplaceParticipationList": all,
            "businessType": "PRIVATE_LIMITED",
            "sellingPlan": "PROFESSIONAL",
        }});
    }
    json!({"payload": all})
}

fn participation(id: &str) -> Value {
    json!({
        "marketplace": {
            "id": id,
            "countryCode": "US",
            "name": "Amazon.com",
            "defaultCurrencyCode": "USD",
            "defaultLanguageCode": "en_US",
            "domainName": "www.amazon.com",
        },
        "participation": {"isParticipating": true, "hasSuspendedListings": false},
        "storeName": "Sandbox Store",
    })
}

fn report_answer(asked: &Asked<'_>, id: &str) -> Option<Value> {
    match id {
        "createReport" => {
            let marketplaces = asked.admitted.body.get("marketplaceIds");
            let report = Report {
                report_type: asked.text("reportType").unwrap_or_default().to_owned(),
                marketplaces: serde_json::from_value(marketplaces.cloned().unwrap_or_default())
                    .unwrap_or_default(),
            };
            Some(json!({"reportId": lock(&asked.world.reports).create(report)}))
        }
        "getReport" => Some(report(asked, asked.argument("reportId"))),
        "getReports" => {
            let newest: Vec<String> = {
                let reports = lock(&asked.world.reports);
                reports.newest().take(10).map(str::to_owned).collect()
            };
            let reports: Vec<Value> = newest.iter().map(|id| report(asked, id)).collect();
            Some(json!({"reports": reports}))
        }
        "getReportDocument" => {
            let id = asked.argument("reportDocumentId");
            Some(fetchable(asked, "reportDocumentId", id))
        }
        "createReportSchedule" => Some(json!({"reportScheduleId": asked.number()})),
        "cancelReport" | "cancelReportSchedule" => Some(json!({})),
        "getReportSchedules" => Some(json!({"reportSchedules": []})),
        _ => None,
    }
}

fn report(asked: &Asked<'_>, id: &str) -> Value {
    let known = lock(&asked.world.reports).report(id);
    let clock = &asked.world.clock;
    json!({
        "reportId": id,
        "reportType": known.report_type,
        "marketplaceIds": known.marketplaces,
        "processingStatus": "DONE",
        "createdTime": clock.seconds_ago(60),
        "processingStartTime": clock.seconds_ago(50),
        "processingEndTime": clock.seconds_ago(10),
        "reportDocumentId": document_id(id),
    })
}

fn fetchable(asked: &Asked<'_>, key: &str, id: &str) -> Value {
    let mut value = json!({key: id, "url": document::to_fetch(asked.world, id)});
    if document::is_compressed(id) {
        set(&mut value, "compressionAlgorithm", json!("GZIP"));
    }
    value
}

fn feed_answer(asked: &Asked<'_>, id: &str) -> Option<Value> {
    let feed_id = asked.argument("feedId");
    match id {
        "createFeedDocument" => {
            let id = format!("amzn1.tortuga.4.na.{}", asked.number());
            let url = document::to_put(asked.world, &id, asked.text("contentType"));
            Some(json!({"feedDocumentId": id, "url": url}))
        }
        "createFeed" => Some(json!({"feedId": asked.number()})),
        "getFeed" => Some(json!({
            "feedId": feed_id,
            "feedType": "JSON_LISTINGS_FEED",
            "marketplaceIds": [MARKETPLACE],
            "createdTime": asked.world.clock.seconds_ago(60),
            "processingStatus": "DONE",
            "resultFeedDocumentId": format!("amzn1.tortuga.4.na.result-{feed_id}"),
        })),
        "getFeeds" => Some(json!({"feeds": []})),
        "getFeedDocument" => {
            let id = asked.argument("feedDocumentId");
            Some(fetchable(asked, "feedDocumentId", id))
        }
        "cancelFeed" => Some(json!({})),
        _ => None,
    }
}

fn kiosk_answer(asked: &Asked<'_>, id: &str) -> Option<Value> {
    let query_id = asked.argument("queryId");
    match id {
        "createQuery" => Some(json!({"queryId": asked.number()})),
        "getQuery" => Some(json!({
            "queryId": query_id,
            "query": "query { sandbox }",
            "createdTime": asked.world.clock.seconds_ago(60),
            "processingStatus": "DONE",
            "dataDocumentId": format!("amzn1.tortuga.4.na.data-{query_id}"),
        })),
        "getQueries" => Some(json!({"queries": []})),
        "getDocument" => {
            let id = asked.argument("documentId");
            Some(json!({"documentId": id, "documentUrl": document::to_fetch(asked.world, id)}))
        }
        "cancelQuery" => Some(json!({})),
        _ => None,
    }
}

fn notification_answer(asked: &Asked<'_>, id: &str) -> Option<Value> {
    let destination = |id: &str, name: &str| {
        json!({
            "destinationId": id,
            "name": name,
            "resource": {"sqs": {"arn": "arn:aws:sqs:us-east-1:000000000000:sandbox"}},
        })
    };
    let subscription = |id: &str| {
        json!({
            "subscriptionId": id,
            "payloadVersion": "1.0",
            "destinationId": "sandbox-destination",
        })
    };
    match id {
        "createDestination" => {
            let name = asked.text("name").unwrap_or("sandbox");
            Some(json!({"payload": destination(&asked.number(), name)}))
        }
        "getDestination" => {
            let id = asked.argument("destinationId");
            Some(json!({"payload": destination(id, "sandbox")}))
        }
        "getDestinations" => {
            Some(json!({"payload": [destination("sandbox-destination", "sandbox")]}))
        }
        "createSubscription" => Some(json!({"payload": subscription(&asked.number())})),
        "getSubscription" => Some(json!({"payload": subscription("sandbox-subscription")})),
        "getSubscriptions" => Some(json!({"payload": [subscription("sandbox-subscription")]})),
        "getSubscriptionById" => {
            Some(json!({"payload": subscription(asked.argument("subscriptionId"))}))
        }
        "deleteDestination" | "deleteSubscriptionById" => Some(json!({})),
        _ => None,
    }
}

fn item_answer(asked: &Asked<'_>, id: &str) -> Option<Value> {
    let summary = json!([{
        "marketplaceId": MARKETPLACE,
        "itemName": "Plausible item",
        "brand": "Sandbox",
    }]);
    match id {
        "searchCatalogItems" => Some(json!({
            "numberOfResults": 1,
            "pagination": {},
            "items": [{"asin": "B0SANDBOX1", "summaries": summary}],
        })),
        "getCatalogItem" => Some(json!({"asin": asked.argument("asin"), "summaries": summary})),
        "getListingsItem" => {
            Some(json!({"sku": decoded(asked.argument("sku")), "summaries": summary}))
        }
        "searchListingsItems" => {
            let item = json!({"sku": "SKU-00000001", "summaries": summary});
            Some(json!({"numberOfResults": 1, "pagination": {}, "items": [item]}))
        }
        "putListingsItem" | "patchListingsItem" | "deleteListingsItem" => Some(json!({
            "sku": decoded(asked.argument("sku")),
            "status": "ACCEPTED",
            "submissionId": asked.number(),
            "issues": [],
        })),
        "getInventorySummaries" => Some(json!({
            "payload": {
                "granularity": {"granularityType": "Marketplace", "granularityId": MARKETPLACE},
                "inventorySummaries": [{"asin": "B0SANDBOX1", "sellerSku": "SKU-00000001", "condition": "NewItem", "totalQuantity": 7}],
            },
            "pagination": {},
        })),
        "createUploadDestinationForResource" => {
            let id = asked.number();
            let kind = asked.call.parameter("contentType");
            let url = document::to_put(asked.world, &id, kind.as_deref());
            Some(json!({"payload": {"uploadDestinationId": id, "url": url, "headers": {}}}))
        }
        _ => None,
    }
}

/// Adds a field to an object.
fn set(object: &mut Value, key: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(key.to_owned(), value);
    }
}

/// A segment as SP-API understands it: escapes decoded once, `+` left alone.
fn decoded(segment: &str) -> String {
    let plus_kept = segment.replace('+', "%2B");
    url::form_urlencoded::parse(format!("v={plus_kept}").as_bytes())
        .next()
        .map_or_else(String::new, |(_, value)| value.into_owned())
}

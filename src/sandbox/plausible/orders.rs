//! What the Orders API answers, v0 and 2026-01-01.

use serde_json::{Value, json};

use super::{Asked, MARKETPLACE, set};

const ORDER: &str = "902-3159896-1390916";

pub(super) fn answer(asked: &Asked<'_>, id: &str) -> Option<Value> {
    let order_id = asked.argument("orderId");
    let new = asked.admitted.operation.version != "v0";
    match id {
        "getOrders" => {
            let orders = [ORDER, "902-1845936-5435065"].map(|id| order(asked, id));
            Some(
                json!({"payload": {"Orders": orders, "CreatedBefore": asked.world.clock.seconds_ago(120)}}),
            )
        }
        "getOrder" if new => Some(json!({"order": new_order(asked, order_id)})),
        "searchOrders" => Some(json!({"orders": [new_order(asked, ORDER)]})),
        "getOrder" => Some(json!({"payload": order(asked, order_id)})),
        "getOrderAddress" => {
            Some(json!({"payload": {"AmazonOrderId": order_id, "ShippingAddress": address()}}))
        }
        "getOrderBuyerInfo" => {
            let mut payload = buyer();
            set(&mut payload, "AmazonOrderId", json!(order_id));
            Some(json!({"payload": payload}))
        }
        "getOrderItems" => {
            Some(json!({"payload": {"AmazonOrderId": order_id, "OrderItems": [order_item(asked)]}}))
        }
        "getOrderItemsBuyerInfo" => {
            let item =
                json!({"OrderItemId": "68828574383266", "GiftMessageText": "Enjoy the sand"});
            Some(json!({"payload": {"AmazonOrderId": order_id, "OrderItems": [item]}}))
        }
        "getOrderRegulatedInfo" => Some(json!({"payload": {
            "AmazonOrderId": order_id,
            "RequiresDosageLabel": false,
            "RegulatedInformation": {"Fields": []},
            "RegulatedOrderVerificationStatus": {"Status": "Pending", "RequiresMerchantAction": true, "ValidRejectionReasons": []},
        }})),
        _ => None,
    }
}

fn order(asked: &Asked<'_>, id: &str) -> Value {
    let clock = &asked.world.clock;
    let mut order = json!({
        "AmazonOrderId": id,
        "PurchaseDate": clock.seconds_ago(86_400),
        "LastUpdateDate": clock.seconds_ago(3600),
        "OrderStatus": "Unshipped",
        "FulfillmentChannel": "MFN",
        "SalesChannel": "Amazon.com",
        "ShipServiceLevel": "Std US D2D Dom",
        "OrderTotal": {"CurrencyCode": "USD", "Amount": "11.01"},
        "NumberOfItemsShipped": 0,
        "NumberOfItemsUnshipped": 1,
        "PaymentMethod": "Other",
        "MarketplaceId": MARKETPLACE,
        "OrderType": "StandardOrder",
        "IsPrime": false,
        "IsBusinessOrder": false,
        "IsISPU": false,
    });
    if asked.opens("buyerInfo") {
        set(&mut order, "BuyerInfo", buyer());
    }
    if asked.opens("shippingAddress") {
        set(&mut order, "ShippingAddress", address());
    }
    if asked.opens("buyerTaxInformation") {
        let tax = json!({"BuyerLegalCompanyName": "Example Sand Ltd"});
        set(&mut order, "BuyerTaxInformation", tax);
    }
    order
}

fn new_order(asked: &Asked<'_>, id: &str) -> Value {
    let clock = &asked.world.clock;
    json!({
        "orderId": id,
        "createdTime": clock.seconds_ago(86_400),
        "lastUpdatedTime": clock.seconds_ago(3600),
        "salesChannel": {"channelName": "AMAZON", "marketplaceId": MARKETPLACE},
        "fulfillment": {"fulfillmentStatus": "UNSHIPPED", "fulfilledBy": "MERCHANT"},
        "orderItems": [{"orderItemId": "68828574383266", "quantityOrdered": 1, "product": {"asin": "B0SANDBOX1"}}],
    })
}

fn order_item(asked: &Asked<'_>) -> Value {
    let mut item = json!({
        "ASIN": "B0SANDBOX1",
        "SellerSKU": "SKU-00000001",
        "OrderItemId": "68828574383266",
        "Title": "Plausible item",
        "QuantityOrdered": 1,
        "QuantityShipped": 0,
        "ItemPrice": {"CurrencyCode": "USD", "Amount": "11.01"},
        "IsGift": "false",
        "ConditionId": "New",
    });
    if asked.opens("buyerInfo") {
        let gift = json!({"GiftMessageText": "Enjoy the sand"});
        set(&mut item, "BuyerInfo", gift);
    }
    item
}

fn buyer() -> Value {
    json!({
        "BuyerEmail": "sandbox-buyer@marketplace.example",
        "BuyerName": "Ada Sandbox",
        "PurchaseOrderNumber": "PO-0001",
    })
}

fn address() -> Value {
    json!({
        "Name": "Ada Sandbox",
        "AddressLine1": "1 Sandbox Way",
        "City": "Exampleton",
        "StateOrRegion": "WA",
        "PostalCode": "00000",
        "CountryCode": "US",
        "Phone": "555-0100",
        "AddressType": "Residential",
    })
}

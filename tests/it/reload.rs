//! A reload changes what open connections may do next, or changes nothing.

use spapi_sidecar::config::Config;

use crate::support::child::ChildSidecar;
use crate::support::sidecar::{NA, Setup, TestSidecar, eventually};

/// The running configuration's text with one replacement.
fn edited(sidecar: &TestSidecar, from: &str, to: &str) -> Config {
    let text = sidecar.configuration().replace(from, to);
    assert_ne!(
        text,
        sidecar.configuration(),
        "{from} is not in the configuration"
    );
    Config::parse("proxy.yaml", &text, &|_| None).unwrap_or_else(|faults| panic!("{faults}"))
}

const EU: &str = "sellingpartnerapi-eu.amazon.com";
const ORDERS: &str = "/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_taken_away_is_refused_to_the_next_request_of_an_open_connection() {
    let sidecar = TestSidecar::start().await;
    let mut inside = sidecar.inside(NA).await;
    assert_eq!(inside.get(NA, ORDERS, &[]).await.status, 200);
    let without = edited(
        &sidecar,
        "GET /orders/v0/orders,",
        "DELETE /orders/v0/orders,",
    );
    sidecar.app.reload(without).unwrap();
    let answer = inside.get(NA, ORDERS, &[]).await;
    assert_eq!(answer.refused(), (403, "route_denied".to_owned()));
    assert_eq!(sidecar.received().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_egress_rule_taken_away_is_refused_on_the_connection_it_had_opened() {
    let sidecar = TestSidecar::start().await;
    let mut inside = sidecar.inside(NA).await;
    assert_eq!(inside.get(NA, ORDERS, &[]).await.status, 200);
    let rule = "  - { host: sellingpartnerapi-na.amazon.com, mode: inject }\n";
    sidecar.app.reload(edited(&sidecar, rule, "")).unwrap();
    let answer = inside.get(NA, ORDERS, &[]).await;
    assert_eq!(answer.refused(), (403, "egress_denied".to_owned()));
    assert_eq!(sidecar.received().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_egress_rule_that_means_something_else_now_is_refused_on_the_connection_it_had_opened() {
    let sidecar = TestSidecar::start().await;
    let mut inside = sidecar.inside(EU).await;
    let rule = format!("{{ host: {EU}, mode: inject }}");
    let changed = format!("{{ host: {EU}, mode: document }}");
    let answer = inside.get(EU, ORDERS, &[]).await;
    assert_eq!(answer.refused(), (403, "region_denied".to_owned()));
    sidecar
        .app
        .reload(edited(&sidecar, &rule, &changed))
        .unwrap();
    let refusal = inside.get(EU, ORDERS, &[]).await.refusal();
    assert_eq!((refusal.status, &*refusal.code), (403, "egress_denied"));
    assert!(refusal.message.contains("has changed"), "{refusal:?}");
    assert_eq!(sidecar.received(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_a_reload_brings_is_served() {
    let sidecar = TestSidecar::with(Setup {
        grants: vec!["acme", "beta", "gamma"],
        ..Setup::default()
    })
    .await;
    let tenant = "  - { id: beta, app: erp, region: na,";
    let gamma = "  - { id: gamma, app: erp, region: na, scopes: [inventory-and-order-tracking] }\n";
    let more = edited(&sidecar, tenant, &format!("{gamma}{tenant}"));
    sidecar.app.reload(more).unwrap();
    let default = edited(&sidecar, "default_tenant: acme", "default_tenant: beta");
    sidecar.app.reload(default).unwrap();
    let url = format!("https://{NA}/orders/v0/orders");
    assert_eq!(
        sidecar.client().get(url).send().await.unwrap().status(),
        200
    );
    assert_eq!(sidecar.records().last().unwrap()["tenant"], "beta");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_takes_a_restart_is_refused_by_name_and_nothing_changes() {
    let sidecar = TestSidecar::start().await;
    let moved = edited(&sidecar, "amazon.pem }", "ca.pem }");
    let error = sidecar.app.reload(moved).unwrap_err().to_string();
    assert!(error.starts_with("upstream changed"), "{error}");
    let uncovered = edited(
        &sidecar,
        "egress:",
        "egress: \n  - { host: other.example, mode: inject }",
    );
    let error = sidecar.app.reload(uncovered).unwrap_err().to_string();
    assert!(
        error.contains("other.example is not among the hosts"),
        "{error}"
    );
    let url = format!("https://{NA}/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER");
    assert_eq!(
        sidecar.client().get(url).send().await.unwrap().status(),
        200
    );
}

/// A file's place as Kubernetes mounts it: the name leads through `..data` to a folder that is swapped as a whole.
struct ConfigMap(std::path::PathBuf);

impl ConfigMap {
    fn mount(folder: &std::path::Path, text: &str) -> Self {
        let mount = Self(folder.join("mounted"));
        std::fs::create_dir(&mount.0).unwrap();
        mount.swap("..1", text);
        std::os::unix::fs::symlink("..data/proxy.yaml", mount.path()).unwrap();
        mount
    }

    fn path(&self) -> std::path::PathBuf {
        self.0.join("proxy.yaml")
    }

    fn swap(&self, version: &str, text: &str) {
        std::fs::create_dir(self.0.join(version)).unwrap();
        std::fs::write(self.0.join(version).join("proxy.yaml"), text).unwrap();
        let next = self.0.join("..data_tmp");
        std::os::unix::fs::symlink(version, &next).unwrap();
        std::fs::rename(next, self.0.join("..data")).unwrap();
    }
}

fn without_the_route(text: &str) -> String {
    text.replace("GET /orders/v0/orders,", "DELETE /orders/v0/orders,")
}

fn generation(sidecar: &TestSidecar) -> u64 {
    sidecar.app.shared().world.load().generation
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_file_is_taken_by_itself_whether_it_is_written_replaced_or_swapped() {
    let sidecar = TestSidecar::start().await;
    let text = sidecar.configuration().to_owned();
    let mount = ConfigMap::mount(sidecar.folder.path(), &text);
    sidecar.app.follow(&mount.path(), &text, |_| None);
    mount.swap("..2", &without_the_route(&text));
    eventually("the swapped file is in force", || generation(&sidecar) == 1).await;
    let answer = sidecar.call(ORDERS, &[]).await;
    assert_eq!(answer.refused(), (403, "route_denied".to_owned()));
    mount.swap("..3", &text);
    eventually("the next one too", || generation(&sidecar) == 2).await;
    assert_eq!(sidecar.call(ORDERS, &[]).await.status, 200);
    std::fs::remove_file(mount.path()).unwrap();
    std::fs::write(mount.path(), without_the_route(&text)).unwrap();
    eventually("a file in its place too", || generation(&sidecar) == 3).await;
    let replacement = mount.0.join("proxy.yaml.new");
    std::fs::write(&replacement, &text).unwrap();
    std::fs::rename(replacement, mount.path()).unwrap();
    eventually("and one that replaces it", || generation(&sidecar) == 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_a_reload_takes_away_is_unknown_and_its_token_is_dropped() {
    let sidecar = TestSidecar::start().await;
    let tenant = sidecar
        .configuration()
        .lines()
        .find(|line| line.contains("id: beta"))
        .unwrap();
    let beta = sidecar.phantom(spapi_sidecar::phantom::Kind::Access, "beta");
    let call = async || {
        let fields = [("x-amz-access-token", &*beta)];
        sidecar.call("/orders/v0/orders", &fields).await
    };
    assert_eq!(call().await.status, 200);
    let before = sidecar.exchanges();
    sidecar.app.reload(edited(&sidecar, tenant, "")).unwrap();
    assert_eq!(call().await.refused(), (403, "tenant_unknown".to_owned()));
    let all = Config::parse("proxy.yaml", sidecar.configuration(), &|_| None).unwrap();
    sidecar.app.reload(all).unwrap();
    assert_eq!(call().await.status, 200);
    assert_eq!(sidecar.exchanges(), before + 1);
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_is_logged_once_with_what_check_says() {
    let sidecar = ChildSidecar::with(Setup::default(), &[]).await;
    let path = sidecar.stage.folder.path().join("proxy.yaml");
    let bad = sidecar.stage.yaml.replace("region: na,", "region: us,");
    std::fs::write(&path, &bad).unwrap();
    let lines = || sidecar.stdout().matches("tenants[0].region").count();
    eventually("the mistake is in the log", || lines() == 1).await;
    // the same again is no news
    std::fs::write(&path, &bad).unwrap();
    assert_eq!(sidecar.call(ORDERS, &[]).await.status, 200);
    std::fs::write(&path, without_the_route(&sidecar.stage.yaml)).unwrap();
    eventually("the good file is in force", || {
        sidecar.stdout().contains("the configuration was reloaded")
    })
    .await;
    assert_eq!(lines(), 1, "{}", sidecar.stdout());
    let answer = sidecar.call(ORDERS, &[]).await;
    assert_eq!(answer.refused(), (403, "route_denied".to_owned()));
}

#[tokio::test]
async fn sighup_reads_the_file_again() {
    let sidecar = ChildSidecar::with(Setup::default(), &[]).await;
    sidecar.hang_up();
    eventually("the file is read again", || {
        sidecar.stdout().contains("the configuration was reloaded")
    })
    .await;
    assert_eq!(sidecar.call(ORDERS, &[]).await.status, 200);
}

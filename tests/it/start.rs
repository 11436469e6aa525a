//! What a start that fails leaves as it was.

use spapi_sidecar::app::{App, StartError};
use spapi_sidecar::telemetry::Sink;

use crate::support::sidecar::TestSidecar;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_sidecar_that_cannot_listen_leaves_the_cas_files_of_the_first() {
    let sidecar = TestSidecar::start().await;
    let files = ["ca.pem", "bundle.pem"].map(|name| sidecar.folder.path().join(name));
    let before = files.each_ref().map(|file| std::fs::read(file).unwrap());
    let mut config = sidecar.app.shared().world.load().config.clone();
    config.listen.proxy = vec![sidecar.proxy()];
    let failure = App::start(config, Sink::new(std::io::sink()), 1)
        .await
        .unwrap_err();
    assert!(matches!(failure, StartError::Listen(_)), "{failure}");
    assert!(
        failure.to_string().contains("listen.proxy"),
        "{failure} names no key"
    );
    let after = files.each_ref().map(|file| std::fs::read(file).unwrap());
    assert!(before == after, "the CA files were replaced");
}

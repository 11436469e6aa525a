//! `telemetry`: what is written, and how.

use super::ORDERS;
use crate::support::child::Process;
use crate::support::free_port;
use crate::support::sidecar::{Setup, Stage, TestSidecar};

const ORDER: &str = "/orders/v0/orders/902-1234567-1234567/address";

#[tokio::test]
async fn path_parameters_are_masked_unless_path_params_keeps_them() {
    for (how, want) in [
        ("mask", "/orders/v0/orders/{orderId}/address"),
        ("keep", ORDER),
    ] {
        let sidecar = TestSidecar::with(Setup {
            sections: format!("telemetry: {{ log: {{ path_params: {how} }} }}"),
            ..Setup::default()
        })
        .await;
        assert_eq!(sidecar.call(ORDER, &[]).await.status, 200);
        assert_eq!(sidecar.record().await["path"], want);
    }
}

#[tokio::test]
async fn the_release_is_stamped_on_every_record() {
    let sidecar = TestSidecar::with(Setup {
        sections: "telemetry: { release: v7-canary }".to_owned(),
        ..Setup::default()
    })
    .await;
    sidecar.call(ORDERS, &[]).await;
    assert_eq!(sidecar.record().await["release"], "v7-canary");
}

#[tokio::test]
async fn below_the_level_nothing_is_written() {
    for (level, has_info) in [("info", true), ("error", false)] {
        let stage = Stage::set(&Setup {
            sections: format!("telemetry: {{ log: {{ level: {level} }} }}"),
            ..Setup::default()
        })
        .await;
        let admin = free_port();
        let yaml = stage.yaml.replace(
            "admin: \"127.0.0.1:0\"",
            &format!("admin: \"127.0.0.1:{admin}\""),
        );
        assert_ne!(yaml, stage.yaml);
        std::fs::write(stage.folder.path().join("proxy.yaml"), yaml).unwrap();
        let process = Process::start(stage.folder.path(), &[]);
        gets_ready(admin).await;
        process.terminate();
        let (status, stdout, _) = process.ended().await;
        assert_eq!(status.code(), Some(0));
        assert_eq!(stdout.contains("\"level\":\"info\""), has_info, "{stdout}");
    }
}

async fn gets_ready(admin: u16) {
    crate::support::crypto();
    let url = format!("http://127.0.0.1:{admin}/health/ready");
    for _ in 0..500 {
        if reqwest::get(&url)
            .await
            .is_ok_and(|answer| answer.status() == 200)
        {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("never ready");
}

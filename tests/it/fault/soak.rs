//! The matrix over and over: every fault of a peer in one and the same process, round after round.

use super::kind::Row;
use super::{collector, lwa, next_hop, sp_api, store, webhook};

/// How many rounds.
const ROUNDS: &str = "FAULTS_ROUNDS";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: a part of .ci/nightly"]
async fn the_matrix_holds_round_after_round_with_every_fault_in_one_process() {
    let rounds = std::env::var_os(ROUNDS).map_or(1, |text| {
        let text = text.into_string().unwrap();
        text.parse::<usize>().unwrap()
    });
    for _ in 0..rounds {
        tokio::join!(
            Box::pin(lwa::play(lwa::ROWS)),
            Box::pin(sp_api::play(sp_api::ROWS)),
            Box::pin(store::play(store::ROWS)),
            Box::pin(webhook::play(webhook::ROWS)),
            Box::pin(collector::play(collector::ROWS)),
            Box::pin(next_hop::play(next_hop::ROWS)),
        );
    }
    let all: [&[Row]; 6] = [
        lwa::ROWS,
        sp_api::ROWS,
        store::ROWS,
        webhook::ROWS,
        collector::ROWS,
        next_hop::ROWS,
    ];
    let cells: usize = all.iter().map(|rows| rows.len()).sum();
    println!(
        "figure: {} cells of the fault matrix held, {cells} a round",
        cells * rounds
    );
}

//! Bodies: small ones, generated ones of any size, and slow ones.
//!
//! Invariant: a generated body is never held; its bytes are a function of seed and offset, so that two readers agree on
//! them whatever the chunking.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};

/// What can end a body early: the peer's stream, passed on by an echo.
pub(super) type BodyError = Box<dyn std::error::Error + Send + Sync>;
/// Any answer's body.
pub(super) type Body = UnsyncBoxBody<Bytes, BodyError>;

const CHUNK: usize = 64 * 1024;
const ROW: usize = 64;

pub(super) fn empty() -> Body {
    Empty::new().map_err(never).boxed_unsync()
}

pub(super) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(never).boxed_unsync()
}

pub(super) fn generated(filling: Filling, length: u64) -> Body {
    let body = Generated {
        filling,
        offset: 0,
        length,
    };
    body.map_err(never).boxed_unsync()
}

fn never(impossible: Infallible) -> BodyError {
    match impossible {}
}

/// What a generated body is made of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Filling {
    /// Pseudo-random bytes of a seed.
    Noise(u64),
    /// Rows of a tab-separated report.
    Rows,
}

struct Generated {
    filling: Filling,
    offset: u64,
    length: u64,
}

impl HttpBody for Generated {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let left = self.length - self.offset;
        if left == 0 {
            return Poll::Ready(None);
        }
        let size = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
        let mut chunk = BytesMut::zeroed(size);
        match self.filling {
            Filling::Noise(seed) => noise(seed, self.offset, &mut chunk),
            Filling::Rows => rows(self.offset, &mut chunk),
        }
        self.offset += size as u64;
        Poll::Ready(Some(Ok(Frame::data(chunk.freeze()))))
    }

    fn is_end_stream(&self) -> bool {
        self.offset == self.length
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length - self.offset)
    }
}

/// Fills `into` with the bytes that stand at `offset` in the noise of `seed`: what `/_sandbox/body/N?seed=S` sends.
///
/// `offset` has to be a multiple of eight.
pub fn noise(seed: u64, offset: u64, into: &mut [u8]) {
    let first = offset / 8;
    for (word, place) in (first..).zip(into.chunks_mut(8)) {
        let bytes = split_mix(seed.wrapping_add(word)).to_le_bytes();
        for (byte, value) in place.iter_mut().zip(bytes) {
            *byte = value;
        }
    }
}

/// `SplitMix64`'s output function (Steele, Lea, Flood 2014): a counter in, well-mixed bits out.
fn split_mix(counter: u64) -> u64 {
    let mut z = counter.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The first rows of a report.
pub(super) fn fill_rows(into: &mut [u8]) {
    rows(0, into);
}

fn rows(offset: u64, into: &mut [u8]) {
    let first = offset / ROW as u64;
    for (row, place) in (first..).zip(into.chunks_mut(ROW)) {
        let text = if row == 0 {
            format!(
                "{:<12}\t{:<37}\t{:<4}\t{:<7}\n",
                "sku", "item-name", "cost", "qty"
            )
        } else {
            let number = row % 100_000_000;
            format!(
                "SKU-{number:08}\t{:<37}\t9.99\t{:07}\n",
                "Plausible item",
                row % 1000
            )
        };
        for (byte, value) in place.iter_mut().zip(text.bytes()) {
            *byte = value;
        }
    }
}

/// The same body at so many bytes a second, in ten pieces a second.
pub(super) fn slow(body: Body, bytes_per_second: u64) -> Body {
    let piece = usize::try_from(bytes_per_second / 10).map_or(CHUNK, |piece| piece.max(1));
    let pause = Duration::from_millis(100);
    let frames = stream::unfold(
        (body, Bytes::new()),
        move |(mut body, mut held)| async move {
            if held.is_empty() {
                match body.frame().await? {
                    Ok(frame) => match frame.into_data() {
                        Ok(bytes) => held = bytes,
                        Err(trailers) => return Some((Ok(trailers), (body, held))),
                    },
                    Err(error) => return Some((Err(error), (body, held))),
                }
            }
            tokio::time::sleep(pause).await;
            let sent = held.split_to(piece.min(held.len()));
            Some((Ok(Frame::data(sent)), (body, held)))
        },
    );
    StreamBody::new(frames).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_generated_body_has_exactly_its_length_and_the_bytes_of_its_seed() {
        let length = 200_003;
        let collected = generated(Filling::Noise(7), length)
            .collect()
            .await
            .unwrap();
        let mut want = vec![0; 200_003];
        noise(7, 0, &mut want);
        assert!(collected.to_bytes() == want);
    }

    #[tokio::test]
    async fn report_rows_line_up_over_chunks() {
        let collected = generated(Filling::Rows, 64 * 3000).collect().await.unwrap();
        let text = String::from_utf8(collected.to_bytes().to_vec()).unwrap();
        assert_eq!(text.lines().count(), 3000);
        assert!(text.lines().all(|line| line.split('\t').count() == 4));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_takes_as_long_as_its_pace_says() {
        let before = tokio::time::Instant::now();
        let body = slow(full(vec![1; 1000]), 100);
        assert_eq!(body.collect().await.unwrap().to_bytes().len(), 1000);
        assert_eq!(before.elapsed(), Duration::from_secs(10));
    }
}

//! The asynchronous encoder and decoder against those for std, whatever comes and however it comes.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use ::tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use proptest::prelude::*;

use super::super::tests::{codec, options, text};
use super::super::{Progress, StreamOptions};
use super::tests::blocking_on;
use super::{Decoder, Encoder, PIECE};

/// Gives and takes a few bytes at a time, makes whoever asks wait in between, and breaks at a byte.
struct Jerky {
    bytes: Vec<u8>,
    at: usize,
    breaks: usize,
    seed: u32,
}

impl Jerky {
    fn new(bytes: Vec<u8>, breaks: usize, seed: u32) -> Jerky {
        Jerky {
            bytes,
            at: 0,
            breaks,
            seed,
        }
    }

    fn next(&mut self) -> usize {
        self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.seed >> 16) as usize
    }

    fn waits(&mut self, context: &Context<'_>) -> bool {
        let waits = self.next().is_multiple_of(3);
        if waits {
            context.waker().wake_by_ref();
        }
        waits
    }

    /// How many bytes may go before it breaks.
    fn some(&mut self, len: usize) -> io::Result<usize> {
        let most = 1 + self.next() % 9000;
        match self.breaks - self.at {
            0 => Err(io::Error::other("the cable is broken")),
            left => Ok(len.min(most).min(left)),
        }
    }
}

impl Read for Jerky {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.some(buffer.len().min(self.bytes.len() - self.at))?;
        buffer[..len].copy_from_slice(&self.bytes[self.at..self.at + len]);
        self.at += len;
        Ok(len)
    }
}

impl Write for Jerky {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let len = self.some(data.len())?;
        self.bytes.extend(&data[..len]);
        self.at += len;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Jerky {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.waits(context) {
            return Poll::Pending;
        }
        let mut piece = vec![0; buffer.remaining()];
        let len = Read::read(&mut *self, &mut piece)?;
        buffer.put_slice(&piece[..len]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Jerky {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self.waits(context) {
            true => Poll::Pending,
            false => Poll::Ready(Write::write(&mut *self, data)),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.waits(context) {
            true => Poll::Pending,
            false => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn compressed(raw: &[u8], options: &StreamOptions, breaks: usize) -> io::Result<Vec<u8>> {
    let to = Jerky::new(Vec::new(), breaks, 1);
    let mut encoder = super::super::Encoder::new(to, codec(), options.clone()).map_err(io::Error::other)?;
    encoder.write_all(raw)?;
    Ok(encoder.finish().map_err(io::Error::other)?.bytes)
}

async fn compressed_asynchronously(
    raw: &[u8],
    options: &StreamOptions,
    breaks: usize,
    seed: u32,
) -> io::Result<Vec<u8>> {
    let mut cuts = Jerky::new(Vec::new(), usize::MAX, seed ^ 0xabcd);
    let to = Jerky::new(Vec::new(), breaks, seed);
    let mut encoder = Encoder::new(to, codec(), options.clone()).map_err(io::Error::other)?;
    let mut rest = raw;
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(cuts.some(rest.len())?);
        encoder.write_all(piece).await?;
        if cuts.next().is_multiple_of(4) {
            encoder.flush().await?;
        }
        rest = behind;
    }
    if seed.is_multiple_of(2) {
        return Ok(encoder.finish().await.map_err(io::Error::other)?.bytes);
    }
    encoder.shutdown().await?;
    encoder.shutdown().await?;
    assert!(encoder.write(b"more").await.is_err());
    Ok(encoder.finish().await.map_err(io::Error::other)?.bytes)
}

/// The content, and how it ended: with what is missing, which the asynchronous form knows at the end.
type Outcome = (Vec<u8>, Result<String, String>);

fn decompressed(from: Jerky, options: StreamOptions) -> Outcome {
    let (mut out, mut piece) = (Vec::new(), [0; 5000]);
    let mut decoder = super::super::Decoder::new(from, |_: &_| Ok(codec()), options);
    let end = loop {
        match decoder.read(&mut piece) {
            Ok(0) => break Ok(()),
            Ok(len) => out.extend(&piece[..len]),
            Err(error) => break Err(error.to_string()),
        }
    };
    (out, end.map(|()| format!("{:?}", decoder.missing())))
}

async fn decompressed_asynchronously(from: Jerky, options: StreamOptions) -> Outcome {
    let (mut out, mut piece) = (Vec::new(), [0; 5000]);
    let mut decoder = Decoder::new(from, |_| Ok(codec()), options).unwrap();
    let end = loop {
        match decoder.read(&mut piece).await {
            Ok(0) => break Ok(()),
            Ok(len) => out.extend(&piece[..len]),
            Err(error) => break Err(error.to_string()),
        }
    };
    assert!(
        end.is_ok() || decoder.read(&mut piece).await.is_err(),
        "no end after an error"
    );
    (out, end.map(|()| format!("{:?}", decoder.missing())))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_the_asynchronous_forms_do_is_what_those_for_std_do(
        lens in proptest::collection::vec(0_usize..200_000, 1..3),
        (block, threads, recover) in (12_u32..18, 1_usize..4, any::<bool>()),
        (cut, flips) in (0_usize..400_000, proptest::collection::vec((0_usize..400_000, 1_u8..), 0..3)),
        breaks in 0_usize..400_000,
        seed in any::<u32>(),
    ) {
        let options = StreamOptions { block_size: 1 << block, threads, recover, ..options() };
        let raw: Vec<Vec<u8>> = lens.into_iter().map(text).collect();
        blocking_on(async {
            let mut container = Vec::new();
            for raw in &raw {
                let part = compressed(raw, &options, usize::MAX).unwrap();
                let ours = compressed_asynchronously(raw, &options, usize::MAX, seed).await.unwrap();
                assert!(part == ours, "the containers differ");
                container.extend(part);
            }
            let jerky = Jerky::new(container.clone(), usize::MAX, seed);
            let out = decompressed_asynchronously(jerky, options.clone()).await;
            assert_eq!(out.1, Ok("[]".to_owned()));
            assert!(out.0 == raw.concat(), "the contents differ");

            // The output that breaks, and what breaks, is cut or damaged.
            let breaks = breaks % (container.len() + container.len() / 4);
            let failed = compressed_asynchronously(&raw[0], &options, breaks, seed).await;
            assert_eq!(failed.is_err(), compressed(&raw[0], &options, breaks).is_err());
            for (at, with) in flips {
                let at = at % container.len();
                container[at] ^= with;
            }
            container.truncate(cut % (container.len() * 2) + 1);
            let from = |seed| Jerky::new(container.clone(), breaks.max(1), seed);
            let theirs = decompressed(from(1), options.clone());
            let ours = decompressed_asynchronously(from(seed), options.clone()).await;
            assert!(ours == theirs, "{:?}\n{:?}", ours.1, theirs.1);
        });
    }
}

/// Waits until nobody else holds it.
fn is_let_go(held: &Arc<()>) -> bool {
    let begun = Instant::now();
    while Arc::strong_count(held) > 1 && begun.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(1));
    }
    Arc::strong_count(held) == 1
}

fn watched(held: &Arc<()>) -> StreamOptions {
    let held = Arc::clone(held);
    StreamOptions {
        progress: Some(Arc::new(move |_: Progress| drop(Arc::clone(&held)))),
        ..options()
    }
}

#[test]
fn dropping_an_asynchronous_form_ends_its_threads_and_stops_nobody_else() {
    let held = Arc::new(());
    blocking_on(async {
        let options = watched(&held);
        let mut encoder = Encoder::new(io::Cursor::new(Vec::new()), codec(), options.clone()).unwrap();
        encoder.write_all(&text(100_000)).await.unwrap();
        drop(encoder);
        let container = compressed(&text(1_000_000), &options, usize::MAX).unwrap();
        let mut decoder = Decoder::new(&container[..], |_| Ok(codec()), options.clone()).unwrap();
        decoder.read_exact(&mut [0; 10_000]).await.unwrap();
        drop(decoder);
        assert!(!options.stop.is_set());
        drop(options);
        assert!(is_let_go(&held));
    });
}

#[test]
fn a_stop_ends_the_asynchronous_forms() {
    blocking_on(async {
        let options = options();
        let container = compressed(&text(1_000_000), &options, usize::MAX).unwrap();
        let mut encoder = Encoder::new(Vec::new(), codec(), options.clone()).unwrap();
        let mut decoder = Decoder::new(&container[..], |_| Ok(codec()), options.clone()).unwrap();
        encoder.write_all(&text(10_000)).await.unwrap();
        decoder.read_exact(&mut [0; 10_000]).await.unwrap();
        options.stop.set();
        for error in [
            encoder.write(b"more").await.unwrap_err(),
            encoder.shutdown().await.unwrap_err(),
            decoder.read(&mut [0; 10]).await.unwrap_err(),
        ] {
            assert_eq!(error.to_string(), "interrupted");
        }
        assert!(encoder.finish().await.is_err(), "what failed stays so");
    });
}

/// Takes nothing.
struct Full;

impl AsyncWrite for Full {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

#[test]
fn an_output_that_takes_nothing_holds_the_encoder_back() {
    blocking_on(async {
        let mut encoder = Encoder::new(Full, codec(), options()).unwrap();
        let mut noise = Jerky::new(Vec::new(), usize::MAX, 7);
        let noise: Vec<u8> = (0..PIECE).map(|_| noise.next() as u8).collect();
        let (mut taken, mut moved) = (0, Instant::now());
        while moved.elapsed() < Duration::from_millis(300) {
            let mut context = Context::from_waker(Waker::noop());
            match Pin::new(&mut encoder).poll_write(&mut context, &noise) {
                Poll::Ready(len) => (taken, moved) = (taken + len.unwrap(), Instant::now()),
                Poll::Pending => ::tokio::task::yield_now().await,
            }
            assert!(taken < 8 * PIECE);
        }
        // Both ways of the pipe, its reader's buffer, and the blocks of the encoder for std.
        assert!((PIECE..4 * PIECE).contains(&taken), "{taken} bytes");
    });
}

#[test]
fn without_a_runtime_there_is_an_error_and_no_panic() {
    for error in [
        Encoder::new(Vec::new(), codec(), options()).err(),
        Decoder::new(&[][..], |_| Ok(codec()), options()).err(),
    ] {
        let error = error.unwrap().to_string();
        assert!(error.contains("Tokio"), "{error}");
    }
}

//! The client that says any frame it is told to, and the scene that most tests begin with.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use hyperpull::Key;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::rig::Rig;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
pub const PRIORITY_UPDATE: u8 = 16;

pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;

/// `:method: GET`, or POST, `:scheme: http`, `:path: /`, `:authority: a`.
pub const GET: &[u8] = b"\x82\x86\x84\x01\x01a";
pub const POST: &[u8] = b"\x83\x86\x84\x01\x01a";
/// `:method: CONNECT`, `:authority: a:1`.
pub const CONNECT: &[u8] = b"\x02\x07CONNECT\x01\x03a:1";

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The preface, with an INITIAL_WINDOW_SIZE.
pub fn preface(window: u32) -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[&[0, 4][..], &window.to_be_bytes()].concat()));
    bytes.extend(frame(SETTINGS, ACK, 0, &[]));
    bytes
}

/// A body, or a part of it, in frames that are not too long.
pub fn data(stream: u32, length: usize) -> Vec<u8> {
    vec![b'd'; length].chunks(1 << 14).flat_map(|piece| frame(DATA, 0, stream, piece)).collect()
}

pub struct Client(pub DuplexStream);

impl Client {
    /// Of which only the windows of streams hold anything up.
    pub async fn new(rig: &mut Rig, window: u32) -> Self {
        let open = frame(WINDOW_UPDATE, 0, 0, &(1u32 << 30).to_be_bytes());
        Self::saying(rig, &[preface(window), open].concat()).await
    }

    pub async fn saying(rig: &mut Rig, bytes: &[u8]) -> Self {
        let mut client = Self(rig.take_client());
        client.send(bytes).await;
        assert!(rig.quiet().await);
        client.received();
        client
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// Kind, flags, stream and payload of each frame that is in the pipe now.
    pub fn received(&mut self) -> Vec<(u8, u8, u32, Vec<u8>)> {
        let mut bytes = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(Ok(1..)) = pin!(self.0.read_buf(&mut bytes)).poll(&mut cx) {}
        let mut frames = Vec::new();
        let mut rest = &bytes[..];
        while let &[a, b, c, kind, flags, d, e, f, g, ref behind @ ..] = rest {
            let (payload, behind) = behind.split_at(u32::from_be_bytes([0, a, b, c]) as usize);
            frames.push((kind, flags, u32::from_be_bytes([d, e, f, g]), payload.to_vec()));
            rest = behind;
        }
        frames
    }

    pub async fn request(&mut self, rig: &mut Rig, stream: u32, flags: u8, block: &[u8]) -> Key {
        self.send(&frame(HEADERS, flags | END_HEADERS, stream, block)).await;
        rig.request().await.0
    }
}

/// An engine of which so many requests are pulled, and a client whose answers come in windows of so many bytes.
pub async fn scene(requests: u32, window: u32) -> (Rig, Client) {
    let mut rig = Rig::new(1 << 22);
    rig.engine.pull_requests(requests);
    let client = Client::new(&mut rig, window).await;
    (rig, client)
}

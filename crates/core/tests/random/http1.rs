//! Peers of HTTP/1.1.

use proptest::prelude::*;

use crate::{
    Wanted,
    damage::{Text, damages},
};

/// Requests of all kinds, most of them well-formed.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let target = prop_oneof![
        30 => (prop_oneof![5 => Just("GET"), 6 => Just("POST"), 1 => Just("HEAD"), 1 => Just("PATCH")],
            prop_oneof![Just("/"), Just("/a?b=c"), Just("http://a/x"), Just("/%20")])
            .prop_map(|(method, path)| format!("{method} {path}")),
        1 => Just("OPTIONS *".to_owned()),
        2 => Just("CONNECT a:80".to_owned()),
        1 => Just("GET *".to_owned()),
        1 => Just("CONNECT /".to_owned()),
    ];
    let version = prop_oneof![9 => Just("1.1"), 1 => Just("1.0")];
    let field = prop_oneof![
        8 => Just("x-a: b\r\n"),
        4 => Just("cookie: c=d; e=f\r\n"),
        4 => Just("te: trailers\r\n"),
        2 => Just("connection: keep-alive\r\n"),
        1 => Just("connection: close\r\n"),
        3 => Just("connection: upgrade\r\nupgrade: echo\r\n"),
        2 => Just("expect: 100-continue\r\n"),
        1 => Just("host: b\r\n"),
    ];
    let body = prop_oneof![
        4 => Just(String::new()),
        2 => (0..300usize).prop_map(|length| format!("content-length: {length}\r\n\r\n{}", "b".repeat(length))),
        2 => (prop::collection::vec(1..100usize, 0..4), any::<bool>()).prop_map(|(chunks, trailers)| {
            let chunks = chunks.iter().map(|&length| format!("{length:x}\r\n{}\r\n", "c".repeat(length)));
            let end = if trailers { "0\r\nx-sum: 1\r\n\r\n" } else { "0\r\n\r\n" };
            format!("transfer-encoding: chunked\r\n\r\n{}{end}", chunks.collect::<String>())
        }),
    ];
    let fields = prop::collection::vec(field, 0..3);
    (target, version, fields, body).prop_map(|(target, version, fields, body)| {
        let end = if body.is_empty() { "\r\n" } else { "" };
        format!("{target} HTTP/{version}\r\nhost: a\r\n{}{body}{end}", fields.concat()).into_bytes()
    })
}

/// Requests, some of them damaged.
pub fn nearly() -> impl Strategy<Value = Text> {
    (prop::collection::vec(request(), 1..6), damages(0.5))
        .prop_map(|(requests, damages)| damages.apply(requests.concat()))
}

/// Well-formed requests, and what they say.
pub fn well() -> impl Strategy<Value = (Vec<Wanted>, Vec<Text>)> {
    let method = prop_oneof![3 => Just("GET"), 1 => Just("HEAD")];
    let chunks = (prop::collection::vec(1..400usize, 0..5), any::<bool>());
    let kind = prop_oneof![
        method
            .prop_map(|method| Wanted { method, body: Vec::new(), trailers: false })
            .prop_map(|wanted| (wanted, None)),
        (prop_oneof![1..300usize, Just(20_000)])
            .prop_map(|length| (Wanted { method: "POST", body: vec![0; length], trailers: false }, None)),
        chunks.prop_map(|(chunks, trailers)| {
            (Wanted { method: "PUT", body: vec![0; chunks.iter().sum()], trailers }, Some(chunks))
        }),
    ];
    prop::collection::vec((kind, any::<bool>()), 1..7).prop_map(|kinds| {
        let mut parts: Vec<Text> = Vec::new();
        let mut all = Vec::new();
        for (number, ((mut wanted, chunks), expects)) in kinds.into_iter().enumerate() {
            wanted.fill(number);
            if parts.is_empty() {
                parts.push(Text(Vec::new()));
            }
            write(&wanted, chunks, number, expects, &mut parts.last_mut().unwrap().0);
            all.push(wanted);
        }
        (all, parts)
    })
}

fn write(wanted: &Wanted, chunks: Option<Vec<usize>>, number: usize, expects: bool, bytes: &mut Vec<u8>) {
    let Wanted { method, body, trailers } = wanted;
    bytes.extend(format!("{method} /{number} HTTP/1.1\r\nhost: a\r\n").bytes());
    if expects && !body.is_empty() {
        bytes.extend(b"expect: 100-continue\r\n");
    }
    let Some(chunks) = chunks else {
        if !body.is_empty() {
            bytes.extend(format!("content-length: {}\r\n", body.len()).bytes());
        }
        bytes.extend(b"\r\n");
        bytes.extend(body);
        return;
    };
    bytes.extend(b"transfer-encoding: chunked\r\n\r\n");
    let mut rest = &body[..];
    for length in chunks {
        let (chunk, after) = rest.split_at(length);
        bytes.extend(format!("{length:x}\r\n").bytes());
        bytes.extend(chunk);
        bytes.extend(b"\r\n");
        rest = after;
    }
    bytes.extend(if *trailers { &b"0\r\nx-sum: 1\r\n\r\n"[..] } else { b"0\r\n\r\n" });
}

//! The examples, as processes, asked by curl over both protocols.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod server;

use std::net::Shutdown;

use server::Server;

const PROTOCOLS: [&str; 2] = ["--http1.1", "--http2-prior-knowledge"];

#[test]
fn the_loop_of_the_issue_answers_without_a_spawn() {
    let server = Server::run("issue_2901", &[]);
    for protocol in PROTOCOLS {
        assert_eq!(server.curl(&[protocol], "/x"), "GET /x Ok(0)\n");
        assert_eq!(server.curl(&[protocol, "-d", "hello"], "/x"), "POST /x Ok(5)\n");
    }
}

#[test]
fn the_loop_of_the_issue_hands_over_an_upgraded_stream() {
    let server = Server::run("issue_2901", &[]);
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
    assert!(client.read_to("\r\n\r\n").starts_with("HTTP/1.1 101 "));
    client.send("there and back");
    client.0.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read_all(), "there and back");
}

/// What is sent to `/7`, and what it is answered with. Two do not read bodies: they are sent none.
const EXAMPLES: [(&str, &[&str], &str); 10] = [
    ("spawn_connections", BODY, "POST /7 Ok(5)\n"),
    ("spawn_streams", BODY, "POST /7 Ok(5)\n"),
    ("spawn_requests", BODY, "POST /7 Ok(5)\n"),
    ("on_smol", BODY, "POST /7 Ok(5)\n"),
    ("limit_connections", &[], "connection 1 of 2\n"),
    ("limit_requests", BODY, "Ok(5)\n"),
    ("memory_budget", BODY, "5 bytes\n"),
    ("priorities", BODY, "5\n"),
    ("graceful_shutdown", BODY, "5\n"),
    ("reply_time", &[], "......."),
];
const BODY: &[&str] = &["-d", "hello"];

#[test]
fn every_example_answers() {
    for (example, flags, answer) in EXAMPLES {
        for protocol in PROTOCOLS {
            let server = Server::run(example, &[]);
            assert_eq!(server.curl(&[&[protocol], flags].concat(), "/7"), answer, "{example} {protocol}");
        }
    }
}

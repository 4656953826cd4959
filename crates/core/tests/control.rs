//! What a program controls by where it awaits: each example of control, as a process, and those who test its limits.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod rig;
mod server;

use std::{fs, io::Read, thread};

use bytes::Bytes;
use h2::{Ping, PingPong, Reason, client::SendRequest};
use http::Request;
use rig::run;
use server::Server;
use tokio::{
    net::TcpStream,
    task::{JoinHandle, LocalSet, spawn_local},
};

/// A connection of its own over HTTP/2, with its pings, and what drives it.
async fn http2(server: &Server) -> (SendRequest<Bytes>, PingPong, JoinHandle<Result<(), h2::Error>>) {
    let io = TcpStream::connect(&server.address).await.unwrap();
    io.set_nodelay(true).unwrap();
    let (sender, mut connection) = h2::client::handshake(io).await.unwrap();
    let pings = connection.ping_pong().unwrap();
    (sender, pings, spawn_local(connection))
}

fn put(server: &Server, path: &str) -> Request<()> {
    Request::put(format!("http://{}{path}", server.address)).body(()).unwrap()
}

#[test]
fn no_more_connections_than_places() {
    let server = Server::run("limit_connections", &[("CONNECTIONS", "2")]);
    let [mut first, mut second, mut third] = [(); 3].map(|()| server.client());
    for (number, client) in [&mut first, &mut second].into_iter().enumerate() {
        client.get("/");
        client.read_to(&format!("connection {} of 2\n", number + 1));
    }
    third.get("/");
    for _ in 0..10 {
        first.get("/");
        first.read_to("connection 1 of 2\n");
    }
    assert!(third.is_silent());
    drop(second);
    third.read_to("connection 2 of 2\n");
}

#[test]
fn no_more_requests_in_work_than_places() {
    let server = Server::run("limit_requests", &[("REQUESTS", "2")]);
    let [mut first, mut second, mut third] = [(); 3].map(|()| server.client());
    for (path, client) in [("/1", &mut first), ("/2", &mut second)] {
        client.begin(path, 1);
        assert_eq!(server.line(), format!("{path} is pulled"));
        assert_eq!(server.line(), format!("{path} begins"));
    }
    third.get("/3");
    assert_eq!(server.line(), "/3 is pulled");
    second.send("x");
    assert_eq!(server.line(), "/2 ends");
    assert_eq!(server.line(), "/3 begins");
    assert_eq!(server.line(), "/3 ends");
    for (client, answer) in [(&mut second, "Ok(1)\n"), (&mut third, "Ok(0)\n")] {
        client.read_to(answer);
    }
}

#[test]
fn a_connection_whose_request_waits_pulls_no_other() {
    let server = Server::run("limit_requests", &[("REQUESTS", "1")]);
    let mut holder = server.client();
    holder.begin("/1", 1);
    assert_eq!((server.line(), server.line()), ("/1 is pulled".into(), "/1 begins".into()));
    run(LocalSet::new().run_until(async {
        let (mut sender, mut pings, _connection) = http2(&server).await;
        let second = sender.send_request(put(&server, "/2"), true).unwrap().0;
        let third = sender.send_request(put(&server, "/3"), true).unwrap().0;
        // The answer says that both requests have been read before it.
        pings.ping(Ping::opaque()).await.unwrap();
        holder.send("x");
        assert_eq!((server.line(), server.line()), ("/2 is pulled".into(), "/1 ends".into()));
        let mut then = [server.line(), server.line()];
        then.sort();
        assert_eq!(then, ["/2 begins", "/3 is pulled"]);
        for answer in [second, third] {
            assert_eq!(answer.await.unwrap().status(), 200);
        }
    }));
}

#[test]
fn no_more_bytes_of_bodies_than_the_budget() {
    const BODY: usize = 1 << 20;
    let server = Server::run("memory_budget", &[]);
    let mut readers: Vec<_> = (0..4)
        .map(|number| {
            let mut client = server.client();
            client.begin(&format!("/{number}"), BODY);
            assert_eq!(server.line(), format!("/{number} wants {BODY}"));
            assert_eq!(server.line(), format!("/{number} reads, {} are left", (3 - number) * BODY));
            client
        })
        .collect();
    // Each of these sends all but the last byte, as far as it gets.
    let waiters: Vec<_> = (4..40)
        .map(|number| {
            let mut client = server.client();
            client.begin(&format!("/{number}"), BODY);
            assert_eq!(server.line(), format!("/{number} wants {BODY}"));
            thread::spawn(move || {
                client.send(&"x".repeat(BODY));
                client.read_to(&format!("{BODY} bytes\n"));
            })
        })
        .collect();
    for client in &mut readers {
        client.send(&"x".repeat(BODY));
        client.read_to(&format!("{BODY} bytes\n"));
    }
    // In the order in which they came, each when there was room for it.
    for number in 4..40 {
        let line = server.line();
        let left = line.strip_prefix(&format!("/{number} reads, ")).and_then(|rest| rest.strip_suffix(" are left"));
        assert!(left.is_some_and(|left| left.parse::<usize>().unwrap() <= 3 * BODY), "{line}");
    }
    for waiter in waiters {
        waiter.join().unwrap();
    }
    // Forty bodies of 1 MiB, of which it has held four at a time. Where there is no /proc, the lines have said it.
    if let Ok(status) = fs::read_to_string(format!("/proc/{}/status", server.id())) {
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB")).unwrap();
        assert!(peak.trim().parse::<usize>().unwrap() < 24 << 10, "{peak} KiB");
    }
}

#[test]
fn a_body_that_does_not_say_its_length_takes_room_for_the_largest() {
    let server = Server::run("memory_budget", &[]);
    let mut client = server.client();
    for (size, answer) in [(5, "5 bytes\n"), ((1 << 20) + 1, "HTTP/1.1 413 ")] {
        let body = "x".repeat(size);
        client.send("PUT / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
        client.send(&format!("{size:x}\r\n{body}\r\n0\r\n\r\n"));
        client.read_to(answer);
        assert_eq!((server.line(), server.line()), ("/ wants 1048576".into(), "/ reads, 3145728 are left".into()));
    }
}

#[test]
fn bodies_that_wait_for_room_do_not_hold_up_those_of_their_connection_that_have_it() {
    const BODY: usize = 1 << 20;
    let server = Server::run("memory_budget", &[]);
    // Room for one more.
    let mut readers = [(); 3].map(|()| server.client());
    for client in &mut readers {
        client.begin("/", BODY);
        assert_eq!(server.line(), format!("/ wants {BODY}"));
        assert!(server.line().starts_with("/ reads"));
    }
    run(LocalSet::new().run_until(async {
        let (mut sender, mut pings, _connection) = http2(&server).await;
        // The server's limits are known.
        pings.ping(Ping::opaque()).await.unwrap();
        let uploads: Vec<_> = (0..8)
            .map(|number| {
                let mut request = put(&server, &format!("/{number}"));
                request.headers_mut().insert("content-length", BODY.into());
                let (answer, mut body) = sender.send_request(request, false).unwrap();
                body.send_data(vec![0; BODY].into(), true).unwrap();
                answer
            })
            .collect();
        for answer in uploads {
            assert_eq!(answer.await.unwrap().status(), 200);
        }
    }));
}

#[test]
fn the_most_urgent_goes_first() {
    let server = Server::run("priorities", &[("REQUESTS", "1")]);
    let mut holder = server.client();
    holder.begin("/0", 1);
    assert_eq!((server.line(), server.line()), ("/0 waits with rank 3".into(), "/0 begins".into()));
    let mut clients = Vec::new();
    for (path, field, rank) in [
        ("/batch/1", "priority: u=0\r\n", 8),
        ("/2", "priority: u=7, i\r\n", 7),
        ("/3", "", 3),
        ("/4", "priority: u=1;x=2\r\n", 1),
        ("/5", "priority: u=8\r\n", 3),
        ("/6", "priority: u=urgent\r\n", 3),
        ("/7", "priority: u=\r\n", 3),
        ("/8", "priority: u=5\r\npriority: u=0\r\n", 0),
    ] {
        let mut client = server.client();
        client.send(&format!("GET {path} HTTP/1.1\r\nhost: a\r\n{field}\r\n"));
        assert_eq!(server.line(), format!("{path} waits with rank {rank}"));
        clients.push(client);
    }
    holder.send("x");
    for path in ["/8", "/4", "/3", "/5", "/6", "/7", "/2", "/batch/1"] {
        assert_eq!(server.line(), format!("{path} begins"));
    }
    for client in &mut clients {
        client.read_to("\r\n\r\n0\n");
    }
}

#[test]
fn the_most_urgent_of_one_http2_connection_goes_first() {
    let server = Server::run("priorities", &[("REQUESTS", "1")]);
    let mut holder = server.client();
    holder.begin("/0", 1);
    assert_eq!((server.line(), server.line()), ("/0 waits with rank 3".into(), "/0 begins".into()));
    run(LocalSet::new().run_until(async {
        let (mut sender, mut pings, _connection) = http2(&server).await;
        let answers: Vec<_> = (1..6)
            .map(|number| {
                let mut request = put(&server, &format!("/{number}"));
                request.headers_mut().insert("priority", format!("u={}", 6 - number).parse().unwrap());
                sender.send_request(request, true).unwrap().0
            })
            .collect();
        pings.ping(Ping::opaque()).await.unwrap();
        for number in 1..6 {
            assert_eq!(server.line(), format!("/{number} waits with rank {}", 6 - number));
        }
        holder.send("x");
        for number in (1..6).rev() {
            assert_eq!(server.line(), format!("/{number} begins"));
        }
        for answer in answers {
            assert_eq!(answer.await.unwrap().status(), 200);
        }
    }));
}

#[test]
fn a_listener_ends_when_what_is_in_flight_has_finished() {
    let mut server = Server::run("graceful_shutdown", &[]);
    let (mut idle, mut busy) = (server.client(), server.client());
    idle.get("/1");
    idle.read_to("\r\n\r\n0\n");
    busy.begin("/2", 2);
    assert_eq!((server.line(), server.line()), ("/1 begins".into(), "/2 begins".into()));
    server.interrupt();
    // The idle connection ends at once; by then the listener has been dropped.
    assert_eq!((idle.read_all(), server.line()), (String::new(), "drained".into()));
    assert!(std::net::TcpStream::connect(&server.address).is_err());
    busy.send("xx");
    let answer = busy.read_all();
    assert!(answer.contains("\r\nconnection: close\r\n") && answer.ends_with("\r\n\r\n2\n"), "{answer}");
    assert_eq!(server.line(), "drained");
    assert!(server.ended().success());
}

#[test]
fn a_connection_ends_at_its_own_request() {
    let server = Server::run("graceful_shutdown", &[]);
    let (mut one, mut other) = (server.client(), server.client());
    other.get("/");
    other.read_to("\r\n\r\n0\n");
    one.get("/last");
    assert!(one.read_all().contains("\r\nconnection: close\r\n"));
    other.get("/");
    other.read_to("\r\n\r\n0\n");
    run(LocalSet::new().run_until(async {
        let (mut sender, _, connection) = http2(&server).await;
        let (busy, mut body) = sender.send_request(put(&server, "/busy"), false).unwrap();
        let last = sender.send_request(put(&server, "/last"), true).unwrap().0;
        assert_eq!(last.await.unwrap().status(), 200);
        // GOAWAY lets what is in flight finish, and the connection then ends without an error.
        body.send_data("x".into(), true).unwrap();
        assert_eq!(busy.await.unwrap().status(), 200);
        connection.await.unwrap().unwrap();
        assert!(sender.send_request(put(&server, "/"), true).is_err());
    }));
}

#[test]
fn a_connection_that_has_not_finished_in_time_is_closed() {
    let mut server = Server::run("graceful_shutdown", &[("CONNECTION_MS", "100"), ("STREAM_MS", "60000")]);
    let mut busy = server.client();
    busy.begin("/", 2);
    assert_eq!(server.line(), "/ begins");
    server.interrupt();
    assert_eq!(server.line(), "closed");
    assert!(server.ended().success());
    assert_eq!(busy.read_all(), "");
}

#[test]
fn a_stream_that_has_not_finished_in_time_is_reset_alone() {
    let mut server = Server::run("graceful_shutdown", &[("CONNECTION_MS", "60000"), ("STREAM_MS", "100")]);
    run(LocalSet::new().run_until(async {
        let (mut sender, _, connection) = http2(&server).await;
        let (slow, _body) = sender.send_request(put(&server, "/slow"), false).unwrap();
        let last = sender.send_request(put(&server, "/last"), true).unwrap().0;
        assert_eq!(last.await.unwrap().status(), 200);
        assert_eq!(slow.await.unwrap_err().reason(), Some(Reason::CANCEL));
        connection.await.unwrap().unwrap();
    }));
    server.interrupt();
    assert_eq!([(); 3].map(|()| server.line()), ["/slow begins", "/last begins", "drained"]);
    assert!(server.ended().success());
}

#[test]
fn a_reply_counts_as_sent_when_its_last_byte_is() {
    let server = Server::run("reply_time", &[]);
    let (mut slow, mut gone, mut quick) = (server.client(), server.client(), server.client());
    slow.get("/60000000");
    slow.read_to("\r\n\r\n");
    quick.get("/1");
    quick.read_to("\r\n\r\n.");
    assert!(server.line().starts_with("/1: 1 bytes sent in "));
    slow.0.read_exact(&mut vec![0; 60_000_000]).unwrap();
    assert!(server.line().starts_with("/60000000: 60000000 bytes sent in "));
    gone.get("/60000001");
    gone.read_to("\r\n\r\n");
    drop(gone);
    assert!(server.line().starts_with("/60000001: not sent, ERR_PEER_"));
}

#[test]
fn a_reply_over_http2_counts_as_sent_when_its_last_byte_is() {
    let server = Server::run("reply_time", &[]);
    run(LocalSet::new().run_until(async {
        let (mut sender, mut pings, _connection) = http2(&server).await;
        // A window of 64 KiB that is not given back holds the long reply up, and the short one passes it.
        let mut slow = sender.send_request(put(&server, "/100000"), true).unwrap().0.await.unwrap().into_body();
        let held = slow.data().await.unwrap().unwrap().len();
        let quick = sender.send_request(put(&server, "/0"), true).unwrap().0.await.unwrap();
        assert_eq!(quick.status(), 200);
        assert!(server.line().starts_with("/0: 0 bytes sent in "));
        slow.flow_control().release_capacity(held).unwrap();
        let mut seen = held;
        while let Some(data) = slow.data().await {
            let length = data.unwrap().len();
            slow.flow_control().release_capacity(length).unwrap();
            seen += length;
        }
        assert_eq!(seen, 100_000);
        assert!(server.line().starts_with("/100000: 100000 bytes sent in "));
        drop(sender.send_request(put(&server, "/100001"), true).unwrap().0.await.unwrap());
        // The reset has gone out before it.
        pings.ping(Ping::opaque()).await.unwrap();
        assert!(server.line().starts_with("/100001: not sent, ERR_PEER_RESET"));
    }));
}

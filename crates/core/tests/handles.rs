//! The handles: the loop of hyper issue #2901 without a spawn, with a driver, and with dropped operations.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod rig;

use std::{future::Future, pin::pin, sync::Arc, task::Context};

use bytes::Bytes;
use http::{Request, Response};
use hyperpull::{
    Connection,
    config::Config,
    error::{CloseCode, Code},
    event::Upgrade,
    timer::TokioTimer,
};
use rig::run;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufStream, DuplexStream, duplex},
    net::{TcpListener, TcpStream},
    task::LocalSet,
};

type Pipe = Connection<DuplexStream, TokioTimer>;

fn connection() -> (DuplexStream, Pipe) {
    let (client, server) = duplex(1 << 16);
    (client, Connection::new(server, Arc::new(Config::default()), TokioTimer::default()))
}

/// The inline loop: every stream, every request, one after the other.
async fn serve_inline<IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    connection: Connection<IO, TokioTimer>,
) -> usize {
    let mut served = 0;
    while let Some(stream) = connection.next().await {
        let (mut input, mut output) = stream.unwrap().split();
        while let Some(item) = input.next().await {
            let (key, mut request) = item.unwrap();
            let body = request.body_mut().bytes(1 << 20).await.unwrap();
            let text = format!("{} {} {}", request.method(), request.uri().path(), body.len());
            let sent = output.send((key, Response::new(Bytes::from(text.clone())))).await.unwrap();
            assert_eq!(sent.bytes, text.len() as u64);
            served += 1;
        }
    }
    served
}

#[test]
fn the_inline_loop_serves_h1_over_a_real_socket() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = async move {
            let mut io = TcpStream::connect(address).await.unwrap();
            let mut seen = String::new();
            io.write_all(b"GET /a HTTP/1.1\r\nhost: a\r\n\r\nPOST /b HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc").await.unwrap();
            io.read_to_string(&mut seen).await.unwrap();
            seen
        };
        let server = async {
            let (io, _) = listener.accept().await.unwrap();
            serve_inline(Connection::new(io, Arc::new(Config::default()), TokioTimer::default())).await
        };
        let (seen, served) = tokio::join!(client, server);
        assert_eq!(served, 2);
        assert!(seen.contains("GET /a 0") && seen.ends_with("POST /b 3"), "{seen}");
    });
}

#[test]
fn the_inline_loop_serves_h2_without_a_driver() {
    run(LocalSet::new().run_until(async {
        let (client, server) = connection();
        let client = async move {
            let (mut sender, connection) = h2::client::handshake(client).await.unwrap();
            let connection = tokio::task::spawn_local(connection);
            let mut answers = Vec::new();
            for number in 0..20 {
                let request = Request::post(format!("http://a/{number}")).body(()).unwrap();
                let (answer, mut body) = sender.send_request(request, false).unwrap();
                body.send_data(Bytes::from(vec![0; number * 1000]), true).unwrap();
                answers.push(answer);
            }
            for (number, answer) in answers.into_iter().enumerate() {
                let mut response = answer.await.unwrap();
                let data = response.body_mut().data().await.unwrap().unwrap();
                assert_eq!(data, format!("POST /{number} {}", number * 1000));
            }
            drop(sender);
            connection.await.unwrap().unwrap();
        };
        let ((), served) = tokio::join!(client, serve_inline(server));
        assert_eq!(served, 20);
    }));
}

#[test]
fn with_a_driver_an_answer_goes_out_though_nobody_awaits_it() {
    run(LocalSet::new().run_until(async {
        let (mut client, connection) = connection();
        let driver = tokio::task::spawn_local(connection.driver());
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let (mut input, mut output) = connection.next().await.unwrap().unwrap().split();
        let (key, _) = input.next().await.unwrap().unwrap();
        drop(output.send((key, Response::new("unawaited"))));
        let mut space = vec![0; 1000];
        let read = client.read(&mut space).await.unwrap();
        assert!(space[..read].ends_with(b"unawaited"));
        let again = output.send((key, Response::new("twice"))).await;
        assert_eq!(again.unwrap_err().code(), Code::KeyUsed);
        drop(client);
        driver.await.unwrap();
    }));
}

#[test]
fn dropped_operations_lose_nothing_and_hand_over_the_lead() {
    run(async {
        let (mut client, connection) = connection();
        let mut noop = Context::from_waker(std::task::Waker::noop());
        // Leads, and is dropped in the middle of its wait.
        assert!(pin!(connection.next()).poll(&mut noop).is_pending());
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let (mut input, mut output) = connection.next().await.unwrap().unwrap().split();
        assert!(pin!(connection.closed()).poll(&mut noop).is_pending());
        let first = pin!(input.next()).poll(&mut noop).map(|item| item.unwrap().unwrap());
        let (key, _) = match first {
            std::task::Poll::Ready(item) => item,
            std::task::Poll::Pending => input.next().await.unwrap().unwrap(),
        };
        {
            // A leader that hangs on to its place while another waits, then is dropped: the other must be woken.
            let mut leader = Box::pin(connection.closed());
            assert!(leader.as_mut().poll(&mut noop).is_pending());
            let wait = async {
                assert!(input.next().await.is_none());
            };
            let act = async move {
                tokio::task::yield_now().await;
                drop(leader);
                let sent = output.send((key, Response::new("x"))).await.unwrap();
                assert_eq!(sent.bytes, 1);
                drop(client);
            };
            tokio::join!(wait, act);
        }
        assert!(connection.next().await.is_none());
    });
}

#[test]
fn a_dropped_stream_resets_what_it_owes() {
    run(async {
        let (mut client, connection) = connection();
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let (mut input, output) = connection.next().await.unwrap().unwrap().split();
        let item = input.next().await.unwrap().unwrap();
        drop((item, input, output));
        assert!(connection.next().await.is_none());
        let mut seen = Vec::new();
        client.read_to_end(&mut seen).await.unwrap();
        assert!(seen.is_empty());
    });
}

#[test]
fn a_request_is_text_and_becomes_one_of_http() {
    run(async {
        let (mut client, connection) = connection();
        let head = "PUT /a?b HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nconnection: upgrade\r\nupgrade: echo\r\nx-one: 2\r\n";
        client.write_all(format!("{head}content-length: 5\r\n\r\nhello").as_bytes()).await.unwrap();
        let (mut input, _output) = connection.next().await.unwrap().unwrap().split();
        let (_, request) = input.next().await.unwrap().unwrap();
        let headers = request.headers();
        assert_eq!(
            (headers.get("x-one"), headers.get("X-ONE"), headers.get("x")),
            (Some(&b"1"[..]), Some(&b"1"[..]), None)
        );
        assert_eq!(headers.get_all("x-one").collect::<Vec<_>>(), [b"1", b"2"]);
        let names: Vec<_> = headers.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["host", "x-one", "connection", "upgrade", "x-one", "content-length"]);
        assert!(request.received_at() <= std::time::Instant::now());

        let request: http::Request<_> = request.into();
        assert_eq!((request.method().as_str(), request.uri().to_string()), ("PUT", "/a?b".to_owned()));
        assert_eq!((request.version(), request.headers()["host"].as_bytes()), (http::Version::HTTP_11, &b"a"[..]));
        assert_eq!(request.headers().get_all("x-one").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(request.extensions().get::<Upgrade>().unwrap().token(), "echo");
        assert_eq!(request.into_body().bytes(5).await.unwrap(), "hello");
    });
}

#[test]
fn what_an_answer_without_a_body_drops_is_not_waited_for() {
    const CASES: [(&str, u16); 3] = [("HEAD", 200), ("GET", 204), ("GET", 304)];
    async fn answer(connection: &Pipe, status: u16) {
        let (mut input, mut output) = connection.next().await.unwrap().unwrap().split();
        let (key, _) = input.next().await.unwrap().unwrap();
        let mut writer = output.start(key, Response::builder().status(status).body(()).unwrap()).unwrap();
        writer.write("dropped", 0).await.unwrap();
        assert_eq!(writer.finish(None).await.unwrap().bytes, 0);
    }
    for (method, status) in CASES {
        run(async {
            let (mut client, connection) = connection();
            client.write_all(format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await.unwrap();
            answer(&connection, status).await;
        });
        run(LocalSet::new().run_until(async {
            let (client, connection) = connection();
            let client = tokio::task::spawn_local(async move {
                let (mut sender, connection) = h2::client::handshake(client).await.unwrap();
                tokio::task::spawn_local(connection);
                let request = Request::builder().method(method).uri("http://a/").body(()).unwrap();
                sender.send_request(request, true).unwrap().0.await.unwrap().status()
            });
            answer(&connection, status).await;
            assert_eq!(client.await.unwrap(), status);
        }));
    }
}

#[test]
fn what_the_transport_has_taken_and_not_flushed_has_not_been_sent() {
    /// Does not become ready before the client has read.
    async fn flushed<T>(client: &mut DuplexStream, flush: impl Future<Output = T>) -> T {
        let mut flush = pin!(flush);
        for _ in 0..3 {
            assert!(flush.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())).is_pending());
        }
        let mut seen = [0; 1000];
        tokio::join!(flush, client.read_exact(&mut seen)).0
    }
    run(async {
        // More than the pipe holds, and less than the buffer before it.
        let (mut client, server) = duplex(200);
        let config = Arc::new(Config::default());
        let connection = Connection::new(BufStream::new(server), config, TokioTimer::default());
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let (mut input, mut output) = connection.next().await.unwrap().unwrap().split();
        let (key, _) = input.next().await.unwrap().unwrap();
        let mut writer = output.start(key, Response::new(())).unwrap();
        flushed(&mut client, writer.write(vec![0; 1000], 0)).await.unwrap();
        flushed(&mut client, writer.write(vec![0; 1000], 0)).await.unwrap();
    });
    run(async {
        let (mut client, server) = duplex(200);
        let config = Arc::new(Config::default());
        let connection = Connection::new(BufStream::new(server), config, TokioTimer::default());
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n").await.unwrap();
        let (mut input, output) = connection.next().await.unwrap().unwrap().split();
        let (key, _) = input.next().await.unwrap().unwrap();
        let mut upgraded = output.upgrade(input, key, Response::new(())).await.unwrap();
        upgraded.write_all(&[0; 1000]).await.unwrap();
        flushed(&mut client, upgraded.flush()).await.unwrap();
    });
}

#[test]
fn a_writer_waits_no_longer_than_for_its_room() {
    // What fits the window of a stream that the client does not open any further.
    const WINDOW: u64 = (1 << 16) - 1;
    run(LocalSet::new().run_until(async {
        let (client, connection) = connection();
        let driver = tokio::task::spawn_local(connection.driver());
        let client = tokio::task::spawn_local(async move {
            let (mut sender, connection) = h2::client::handshake(client).await.unwrap();
            tokio::task::spawn_local(connection);
            sender.send_request(Request::get("http://a/").body(()).unwrap(), true).unwrap().0.await.unwrap()
        });
        let (mut input, mut output) = connection.next().await.unwrap().unwrap().split();
        let (key, _) = input.next().await.unwrap().unwrap();
        let mut writer = output.start(key, Response::new(())).unwrap();
        writer.write(vec![0; 100_000], 100_000 - WINDOW).await.unwrap();
        let mut flush = pin!(writer.write("", 100_000 - WINDOW - 1));
        assert!(flush.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())).is_pending());
        drop((client.await.unwrap(), driver));
    }));
}

#[test]
fn a_stream_leaves_http() {
    run(async {
        let (mut client, connection) = connection();
        let request = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: h2c, Echo\r\n\r\n";
        client.write_all(request.as_bytes()).await.unwrap();
        let (mut input, output) = connection.next().await.unwrap().unwrap().split();
        let (key, request) = input.next().await.unwrap().unwrap();
        assert_eq!(request.upgrade().unwrap().token(), "h2c, echo");
        let chosen = Response::builder().header("upgrade", "echo").body(()).unwrap();
        let mut upgraded = output.upgrade(input, key, chosen).await.unwrap();
        assert_eq!(upgraded.protocol().token(), "echo");
        let server = async {
            let mut space = [0; 5];
            upgraded.read_exact(&mut space).await.unwrap();
            upgraded.write_all(&space).await.unwrap();
            upgraded.shutdown().await.unwrap();
        };
        let client = async {
            client.write_all(b"hello").await.unwrap();
            let mut seen = String::new();
            client.read_to_string(&mut seen).await.unwrap();
            seen
        };
        let (seen, ()) = tokio::join!(client, server);
        assert!(seen.starts_with("HTTP/1.1 101") && seen.ends_with("hello"));
    });
}

#[test]
fn a_body_has_no_part_in_the_tunnel() {
    for fetched in [true, false] {
        run(async move {
            let (mut client, connection) = connection();
            let cx = &mut Context::from_waker(std::task::Waker::noop());
            let head =
                "POST / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\ncontent-length: 4\r\n\r\n";
            client.write_all(head.as_bytes()).await.unwrap();
            let (mut input, output) = connection.next().await.unwrap().unwrap().split();
            let (key, mut request) = input.next().await.unwrap().unwrap();
            let body = request.body_mut();
            assert!(pin!(body.chunk()).poll(cx).is_pending());
            client.write_all(b"body").await.unwrap();
            // It is read to its last byte, and the reader was not told that there are no more.
            if fetched {
                assert_eq!(body.chunk().await.unwrap().unwrap(), "body");
            } else {
                assert!(pin!(connection.driver()).poll(cx).is_pending());
            }
            let mut upgraded = output.upgrade(input, key, Response::new(())).await.unwrap();
            client.write_all(b"tunnel").await.unwrap();
            assert_eq!(body.chunk().await.map_err(|error| error.code()), Err(Code::Closed));
            let mut space = [0; 6];
            upgraded.read_exact(&mut space).await.unwrap();
            assert_eq!(&space, b"tunnel");
        });
    }
}

#[test]
fn an_h2_connection_that_drains_ends_with_its_last_answer_whatever_the_peer_does() {
    const GOAWAY: u8 = 7;
    run(async {
        let (mut client, connection) = connection();
        let (told, mut goes) = tokio::sync::mpsc::unbounded_channel();
        // A peer that answers pings, and otherwise waits for the end.
        let peer = async move {
            let get = b"\x00\x00\x06\x01\x05\x00\x00\x00\x01\x82\x86\x84\x41\x01a";
            let opening = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"[..], get].concat();
            client.write_all(&opening).await.unwrap();
            let mut head = [0; 9];
            while client.read_exact(&mut head).await.is_ok() {
                let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
                client.read_exact(&mut payload).await.unwrap();
                if head[3] == 6 && head[4] == 0 {
                    client.write_all(&[&[0, 0, 8, 6, 1, 0, 0, 0, 0][..], &payload].concat()).await.unwrap();
                }
                told.send(head[3]).unwrap();
            }
            // It has not been hung up on: it may still say how much of the last answer it has taken.
            client.write_all(b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x04").await.unwrap();
        };
        let server = async {
            let (mut input, mut output) = connection.next().await.unwrap().unwrap().split();
            let (key, _) = input.next().await.unwrap().unwrap();
            connection.drain();
            let answers = async {
                // The second says which stream was the last.
                for _ in 0..2 {
                    while goes.recv().await.unwrap() != GOAWAY {}
                }
                output.send((key, Response::new(Bytes::from_static(b"last")))).await.unwrap();
            };
            tokio::join!(connection.closed(), answers).0
        };
        assert_eq!(tokio::join!(peer, server).1.code, CloseCode::Drained);
    });
}

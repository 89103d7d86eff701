//! Values on real sockets: what is applied is what the kernel then has.

#![cfg(feature = "socket2")]
#![expect(
    clippy::disallowed_methods,
    reason = "the crate opens no sockets; this test does"
)]

use socket2::SockRef;
use std::error::Error;
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Duration;
use tcpalive_keepalive::{Params, UserTimeout, socket};

type Outcome = Result<(), Box<dyn Error>>;

#[test]
fn a_new_stream_has_keep_alive_off() -> Outcome {
    let (client, server) = connected()?;
    assert_eq!(socket::read(&client)?, None);
    assert_eq!(socket::read(&server)?, None);
    Ok(())
}

#[test]
fn a_stream_takes_all_four_values() -> Outcome {
    let (client, server) = connected()?;
    let params: Params = "11/22/6/90s".parse()?;
    socket::apply(&client, params)?;
    assert_eq!(socket::read(&client)?, Some(params));
    // Each by the kernel's own word, not through `read`.
    let raw = SockRef::from(&client);
    assert!(raw.keepalive()?);
    assert_eq!(raw.tcp_keepalive_time()?, Duration::from_secs(11));
    assert_eq!(raw.tcp_keepalive_interval()?, Duration::from_secs(22));
    assert_eq!(raw.tcp_keepalive_retries()?, 6);
    assert_eq!(raw.tcp_user_timeout()?, Some(Duration::from_secs(90)));
    // The other end is another socket.
    assert_eq!(socket::read(&server)?, None);
    Ok(())
}

#[test]
fn the_largest_and_the_smallest_values_are_taken() -> Outcome {
    let (client, _server) = connected()?;
    let largest = Params::new(32_767, 32_767, 127)?.with_user_timeout(UserTimeout::MAX);
    for params in [largest, Params::new(1, 1, 1)?] {
        socket::apply(&client, params)?;
        assert_eq!(socket::read(&client)?, Some(params));
    }
    Ok(())
}

#[test]
fn a_user_timeout_that_is_off_takes_an_earlier_one_away() -> Outcome {
    let (client, _server) = connected()?;
    socket::apply(&client, "10/20/5/30s".parse()?)?;
    let without: Params = "10/20/5".parse()?;
    socket::apply(&client, without)?;
    assert_eq!(socket::read(&client)?, Some(without));
    Ok(())
}

#[test]
fn a_socket_that_is_switched_off_keeps_its_values() -> Outcome {
    let (client, _server) = connected()?;
    let params: Params = "10/20/5/30s".parse()?;
    socket::apply(&client, params)?;
    socket::disable(&client)?;
    assert_eq!(socket::read(&client)?, None);
    SockRef::from(&client).set_keepalive(true)?;
    assert_eq!(socket::read(&client)?, Some(params));
    Ok(())
}

#[test]
fn accepted_sockets_inherit_what_the_listener_has() -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let params: Params = "10/20/5/30s".parse()?;
    socket::apply(&listener, params)?;
    assert_eq!(socket::read(&listener)?, Some(params));
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (accepted, _) = listener.accept()?;
    assert_eq!(socket::read(&accepted)?, Some(params));
    assert_eq!(socket::read(&client)?, None);
    Ok(())
}

#[test]
fn sockets_accepted_before_do_not_change_with_their_listener() -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let _client = TcpStream::connect(listener.local_addr()?)?;
    let (accepted, _) = listener.accept()?;
    socket::apply(&listener, "10/20/5".parse()?)?;
    assert_eq!(socket::read(&accepted)?, None);
    Ok(())
}

#[test]
fn streams_and_listeners_of_tokio_are_sockets_too() -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let inherited: Params = "10/20/5".parse()?;
        socket::apply(&listener, inherited)?;
        let client = tokio::net::TcpStream::connect(listener.local_addr()?).await?;
        let (accepted, _) = listener.accept().await?;
        assert_eq!(socket::read(&accepted)?, Some(inherited));

        let params: Params = "30/5/3/1m".parse()?;
        socket::apply(&client, params)?;
        assert_eq!(socket::read(&client)?, Some(params));
        Ok(())
    })
}

#[test]
fn a_socket_that_is_not_tcp_is_refused_by_name_and_left_as_it_was() -> Outcome {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let error = socket::apply(&socket, Params::LINUX).expect_err("UDP has no user timeout");
    let text = error.to_string();
    assert!(text.starts_with("setting TCP_USER_TIMEOUT: "), "{text}");
    // As an `io::Error` it keeps its kind and its text.
    let error = io::Error::from(error);
    assert_eq!(error.to_string(), text);
    assert!(!SockRef::from(&socket).keepalive()?);
    Ok(())
}

/// A connection over the loopback: the client's end and the server's.
fn connected() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    Ok((client, server))
}

// Cargo.toml: socket2 = { version = "0.6", features = ["all"] }
fn keep_alive(stream: &std::net::TcpStream) -> std::io::Result<()> {
    use std::time::Duration;
    let socket = socket2::SockRef::from(stream);
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(10))
        .with_retries(5);
    socket.set_tcp_keepalive(&keepalive)?;
    // For data in flight, when probes wait. It also ends peers that live but do
    // not read for so long.
    socket.set_tcp_user_timeout(Some(Duration::from_millis(109000)))
}

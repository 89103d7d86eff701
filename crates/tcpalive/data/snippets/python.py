import socket


def keep_alive(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, @idle@)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, @interval@)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, @count@)
    # For data in flight, when probes wait. It also ends peers that live but do
    # not read for so long.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, @user_timeout_ms@)

// Node sets the first value alone: the interval is 1 s, the count 10, and there
// is no user timeout.
function keepAlive(socket) {
  return socket.setKeepAlive(true, @node@ * 1000);
}

module.exports = { keepAlive };

package keepalive

import (
	"net"
	"syscall"
	"time"
)

// Config is for both ends: Go 1.23 or later.
var Config = net.KeepAliveConfig{
	Enable:   true,
	Idle:     @idle@ * time.Second,
	Interval: @interval@ * time.Second,
	Count:    @count@,
}

// UserTimeout is for data in flight, when probes wait. It also ends peers that
// live but do not read for so long. Linux alone.
func UserTimeout(_, _ string, conn syscall.RawConn) error {
	const tcpUserTimeout = 18 // TCP_USER_TIMEOUT of linux/tcp.h
	var failed error
	err := conn.Control(func(fd uintptr) {
		failed = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, @user_timeout_ms@)
	})
	if err != nil {
		return err
	}
	return failed
}

// Listen and Dial are used in place of net.Listen and net.Dial.
var (
	Listen = net.ListenConfig{KeepAliveConfig: Config, Control: UserTimeout}
	Dial   = net.Dialer{KeepAliveConfig: Config, Control: UserTimeout}
)

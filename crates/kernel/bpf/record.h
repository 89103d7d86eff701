/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What the BPF programs hand to user space. This header is the only
 * definition: the Rust types are generated from the BTF that the compiler
 * makes of it, so the two sides cannot drift apart.
 *
 * Times are jiffies as the kernel keeps them (tcp_jiffies32), addresses are
 * IPv6 in network order with IPv4 as ::ffff:a.b.c.d, ports in host order.
 */
#ifndef TCPALIVE_RECORD_H
#define TCPALIVE_RECORD_H

enum tcpalive_record_kind {
	TCPALIVE_FULL = 0,	/* struct tcp_sock */
	TCPALIVE_TIMEWAIT = 1,	/* struct tcp_timewait_sock */
	TCPALIVE_REQUEST = 2,	/* struct tcp_request_sock */
};

enum tcpalive_record_flag {
	TCPALIVE_KEEPOPEN = 1,	/* SO_KEEPALIVE */
	TCPALIVE_TSTAMP_OK = 2,	/* RFC 7323 timestamps were negotiated */
	TCPALIVE_USEC_TS = 4,	/* timestamps tick in microseconds */
	TCPALIVE_MPTCP = 8,	/* subflow of an MPTCP connection */
	TCPALIVE_IPV6_SOCKET = 16, /* AF_INET6 socket, also when v4-mapped */
	TCPALIVE_ORPHAN = 32,	/* no program can reach it any more */
	TCPALIVE_SIGNED = 64,	/* TCP-MD5 or TCP-AO: unsigned segments are dropped */
	TCPALIVE_IPSEC = 128,	/* its route transforms packets */
};

/*
 * One socket, as iter/tcp saw it under its lock. Without `for_probing` in the
 * selection only what stands before `snd_wnd` is handed out: half the bytes,
 * and half the cache lines of the socket.
 */
struct tcpalive_record {
	__u64 cookie;
	__u64 inode;
	__u64 cgroup_id;
	__u8 local[16];
	__u8 remote[16];
	__u16 local_port;
	__u16 remote_port;
	__u8 state;
	__u8 kind;
	__u8 flags;
	__u8 keepalive_probes;	/* 0: the namespace's sysctl */

	__u32 now;		/* jiffies when the record was made */
	__u32 rcv_tstamp;	/* last ACK received */
	__u32 lrcvtime;		/* last data received */
	__u32 lsndtime;		/* last data sent */
	__u32 keepalive_time;	/* jiffies, 0: the namespace's sysctl */
	__u32 keepalive_intvl;	/* jiffies, 0: the namespace's sysctl */
	__u32 user_timeout;	/* ms, 0: none */
	__u32 snd_una;
	__u32 snd_nxt;
	__u32 write_seq;
	__u32 wmem_queued;
	__u32 rmem_alloc;
	__s32 forward_alloc;
	__u32 uid;		/* owner of the socket's inode */
	__u8 retransmits;
	__u8 probes_out;
	__u8 pending;		/* ICSK_TIME_* */
	__u8 backoff;
	__u32 bound_dev_if;

	__u32 snd_wnd;
	__u32 rcv_nxt;
	__u32 rcv_wnd;
	__u32 rcv_wup;
	__u32 ts_recent;
	__u32 tsoffset;
	__u32 packets_out;
	__u32 rto;		/* jiffies */
	__u32 srtt_us;		/* 8 times the smoothed round-trip time */
	__u32 retrans_stamp;	/* the TCP clock at the first retransmission */
	__u32 fsuid;		/* of the credentials that opened it: what */
	__u32 fsgid;		/* netfilter calls its user and group */
	__u32 rx_ifindex;	/* where its last packet came in; 0: unknown */
	__u32 total_retrans;	/* segments retransmitted in its life */
	__u32 data_segs_out;	/* segments with data sent in its life */
	__u32 mark;
	__u32 txhash;
	__u32 flow_label;	/* host order; 0: none was set */
	__s16 ttl;		/* -1: the namespace's sysctl */
	__s16 hop_limit;	/* -1: the route's or the device's */
	__u8 tos;
	__u8 tclass;
	__u8 pmtudisc;
	__u8 rcv_wscale;
};

/* What can change about a connection while it is being checked. */
struct tcpalive_pulse {
	__u64 cookie;
	__u32 now;
	__u32 rcv_tstamp;
	__u32 lrcvtime;
	__u32 snd_una;
	__u32 snd_nxt;
	__u32 write_seq;
	__u32 rcv_nxt;
	__u32 rcv_wnd;
	__u32 rcv_wup;
	__u32 ts_recent;
	__u32 packets_out;
	__u8 state;
	__u8 retransmits;
	__u8 probes_out;
	__u8 rcv_wscale;
};

/* A descriptor that refers to a TCP socket, as iter/task_file saw it. */
struct tcpalive_descriptor {
	__u64 inode;
	__u32 pid;
	__u32 fd;
	__u8 comm[16];
};

/* Which sockets to hand out; user space sets it before a sweep. */
struct tcpalive_selection {
	__u32 states;		/* bit n: state n */
	__u32 idle_jiffies;	/* heard at least so long ago; 0: any */
	__u16 local_port_low, local_port_high;
	__u16 remote_port_low, remote_port_high;
	__u16 either_port_low, either_port_high;
	__u16 keepalive;	/* 0: any, 1: on, 2: off */
	__u16 addresses;	/* 0: the masks below accept everything */
	__u32 local[4], local_mask[4];
	__u32 remote[4], remote_mask[4];
	__u32 for_probing;	/* also read what only a probe needs */
};

enum tcpalive_destroy_result {
	TCPALIVE_PENDING = 0,	/* the iterator did not meet the socket */
	TCPALIVE_DESTROYED = 1,
	TCPALIVE_CHANGED = 2,	/* something moved since the proof */
	TCPALIVE_FAILED = 3,
};

/*
 * A socket to destroy, keyed by cookie: only if nothing of this moved. The
 * iterator holds the socket's lock between comparing and destroying.
 */
struct tcpalive_condemned {
	__u32 rcv_tstamp;
	__u32 lrcvtime;
	__u32 snd_una;
	__u32 snd_nxt;
	__u32 write_seq;
	__u32 rcv_nxt;
	__u32 state;
	__u32 result;		/* enum tcpalive_destroy_result */
	__s64 error;		/* what bpf_sock_destroy returned */
};

/* A connection whose packets are watched on the wire. */
struct tcpalive_flow {
	__u8 local[16];
	__u8 remote[16];
	__u16 local_port;
	__u16 remote_port;
};

/* What the wire showed of it. Times are CLOCK_MONOTONIC in ns. */
struct tcpalive_sighting {
	__u64 probe_out_ns;	/* a probe last left through a device */
	__u64 heard_ns;		/* the peer was last heard */
	__u64 rtt_ns;		/* first answer after a probe; 0: none yet */
	__u32 probe_sequence;	/* how a probe of this connection starts */
	__u32 probes_out;	/* probes that left, as the devices saw them */
	__u32 heard;		/* segments from the peer without RST */
	__u32 resets;		/* segments from the peer with RST */
	__u32 last_ack;		/* acknowledgment number last heard */
	__u32 snd_una;		/* lowest acknowledgment that proves life */
	__u32 acceptable;	/* segments with ACK that acknowledged snd_una */
	__u32 out_ifindex[4];	/* devices that sent probes, upper ones first */
	__u32 pad;
};

/* How often something ran on one processor, and how long. */
struct tcpalive_span {
	__u64 entered_ns;	/* CLOCK_MONOTONIC; 0: not running */
	__u64 total_ns;
	__u64 runs;
	__u64 longest_ns;
};

#endif

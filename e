tcpalive: listening on veth0, network namespace dme26560, link-type EN10MB (Ethernet), snapshot length 512 bytes
0 packets captured
0 packets received by filter
0 packets dropped by kernel
tcpalive: capturing on veth0: The interface disappeared

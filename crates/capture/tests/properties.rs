//! What holds for any bytes, and for any packets.

mod layers;
mod written;

use proptest::prelude::*;
use tcpalive_capture::{FileError, Link, Reader, Resolution, Writer, ip_packet};
use written::Order;

/// Reads to the end, asks all that can be asked, and gives back how many
/// packets there were. What must hold for any file is asserted.
fn read_all(file: &[u8]) -> u64 {
    let mut reader = match Reader::new(file) {
        Ok(reader) => reader,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return 0;
        }
    };
    let error = loop {
        match reader.next() {
            Ok(Some(packet)) => {
                if let Some(ip) = packet.ip_packet() {
                    let _ = ip.context.to_string();
                    let _ = ip.segment().map(|segment| segment.payload_len());
                }
            }
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    let (frames, end) = (reader.frames(), reader.offset());
    match error {
        None => assert_eq!(end, file.len() as u64),
        Some(FileError::Truncated {
            frame,
            offset,
            needed,
            found,
            ..
        }) => {
            assert_eq!((frame, offset), (frames + 1, end));
            assert_eq!(offset + found, file.len() as u64);
            assert!(needed > found);
        }
        Some(FileError::Damaged { frame, offset, .. }) => {
            assert_eq!((frame, offset), (frames + 1, end));
        }
        Some(error) => panic!("bytes in memory cannot fail: {error}"),
    }
    frames
}

/// A file of each form with every encapsulation in it.
fn sample(order: Order, pcapng: bool) -> Vec<u8> {
    let frames = layers::encapsulations();
    let mut file = if pcapng {
        let mut file = order.section(b"");
        file.extend(order.interface(1, 0, &order.option(9, &[9])));
        file
    } else {
        order.pcap(0xa1b2_c3d4, 1)
    };
    for (_, frame, _) in frames {
        file.extend(if pcapng {
            order.enhanced(0, 1, &frame, frame.len() as u32)
        } else {
            order.record(1, 2, &frame, frame.len() as u32)
        });
    }
    file
}

fn samples() -> impl Strategy<Value = Vec<u8>> {
    let order = prop_oneof![Just(Order::Little), Just(Order::Big)];
    (order, any::<bool>()).prop_map(|(order, pcapng)| sample(order, pcapng))
}

fn links() -> impl Strategy<Value = Link> {
    prop_oneof![
        Just(Link::ETHERNET),
        Just(Link::NULL),
        Just(Link::LOOP),
        Just(Link::RAW),
        Just(Link::LINUX_SLL),
        Just(Link::LINUX_SLL2),
        Just(Link::PPP),
        Just(Link::PPP_ETHER),
        any::<u16>().prop_map(Link),
    ]
}

type Record = (u64, Vec<u8>, u32);

fn records() -> impl Strategy<Value = Vec<Record>> {
    let time = 0..u64::from(u32::MAX) * 1_000_000_000;
    let data = proptest::collection::vec(any::<u8>(), 0..200);
    proptest::collection::vec((time, data, any::<u32>()), 0..20)
}

proptest! {
    #[test]
    fn any_bytes_are_a_capture_or_an_error(
        order in prop_oneof![Just(Order::Little), Just(Order::Big)],
        bytes in proptest::collection::vec(any::<u8>(), 0..2000),
    ) {
        read_all(&bytes);
        for mut file in [
            order.pcap(0xa1b2_c3d4, 1),
            order.section(b""),
            [order.section(b""), order.interface(1, 0, b"")].concat(),
        ] {
            file.extend(&bytes);
            read_all(&file);
        }
    }

    #[test]
    fn a_capture_with_wrong_bytes_is_a_capture_or_an_error(
        mut file in samples(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        cut: prop::sample::Index,
    ) {
        let whole = layers::encapsulations().len() as u64;
        prop_assert_eq!(read_all(&file), whole);
        for (place, byte) in changes {
            let place = place.index(file.len());
            file[place] = byte;
        }
        read_all(&file);
        read_all(&file[..cut.index(file.len())]);
    }

    #[test]
    fn any_frame_is_looked_into(
        link in links(),
        data in proptest::collection::vec(any::<u8>(), 0..200),
        original_len: u32,
    ) {
        if let Some(packet) = ip_packet(link, &data, original_len) {
            prop_assert!(packet.bytes.len() <= data.len());
            prop_assert!(packet.sent <= original_len.max(data.len() as u32));
            let _ = packet.segment().map(|segment| segment.checksum_ok());
        }
    }

    #[test]
    fn what_is_written_is_read(records in records(), link in links(), nanoseconds: bool) {
        let (resolution, unit) = if nanoseconds {
            (Resolution::Nanoseconds, 1)
        } else {
            (Resolution::Microseconds, 1000)
        };
        let mut writer = Writer::new(Vec::new(), link, resolution).unwrap();
        for (time, data, original_len) in &records {
            writer.packet(*time, data, *original_len).unwrap();
        }
        let file = writer.into_inner();
        let mut reader = Reader::new(&file[..]).unwrap();
        for (number, (time, data, original_len)) in (1..).zip(&records) {
            let packet = reader.next().unwrap().unwrap();
            prop_assert_eq!(packet.frame, number);
            prop_assert_eq!(packet.time, time / unit * unit);
            prop_assert_eq!(packet.link, link);
            prop_assert_eq!(packet.data, &data[..]);
            prop_assert_eq!(packet.original_len, *original_len);
        }
        prop_assert!(reader.next().unwrap().is_none());
    }
}

#[test]
fn what_the_form_cannot_hold_is_not_written() {
    let mut writer = Writer::new(Vec::new(), Link::RAW, Resolution::Microseconds).unwrap();
    let year_2106 = (u64::from(u32::MAX) + 1) * 1_000_000_000;
    let error = writer.packet(year_2106, b"", 0).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    let error = writer.packet(0, &vec![0; 262_145], 0).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert_eq!(writer.into_inner().len(), 24);
}

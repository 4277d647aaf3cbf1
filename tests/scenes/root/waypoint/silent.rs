//! Clients that wait for the server to speak first: the daemon sends the header for them.

use super::*;

/// Connections of one round of a race.
const RACERS: usize = 200;

#[test]
fn a_client_that_waits_gets_the_banner_behind_the_header() {
    let bench = bench("wp_banner");
    let recorder = recorder(&bench, Reply::Say("220 ready\r\n"));
    let daemon = bench.start();
    for (address, header) in [(WEB, &HEADER[..]), (WEB6, &HEADER6)] {
        let mut stream = dial(&bench, address);
        let mut banner = [0; 11];
        stream.read_exact(&mut banner).unwrap();
        assert_eq!(&banner, b"220 ready\r\n");
        assert!(recorder.received().contains(&header.to_vec()), "the header alone came first");
        stream.write_all(b"EHLO\r\n").unwrap();
        wait_until("the command to come", PATIENCE, || {
            recorder.received().contains(&with(header, b"EHLO\r\n"))
        });
    }
    assert_eq!(counter(&daemon, "waypoint_header_unsent"), 0);
}

#[test]
fn a_process_with_many_sockets_is_looked_through_for_the_right_one() {
    let bench = bench("wp_many");
    let recorder = recorder(&bench, Reply::Say("x"));
    let _daemon = bench.start();
    let mut streams: Vec<_> = (0..300).map(|_| dial(&bench, WEB)).collect();
    for stream in &mut streams {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
    }
    wait_received(&recorder, &vec![HEADER.to_vec(); streams.len()]);
}

/// Many clients speak at about the moment at which the daemon would speak for them.
#[test]
fn the_header_is_sent_once_whoever_is_first() {
    let bench = bench("wp_race");
    let recorder = recorder(&bench, Reply::Echo);
    // As soon as possible, so that both meet.
    let daemon = bench.scene.start_daemon_with(|options| {
        options.args = vec!["--waypoint-silence-ms".into(), "1".into()];
    });
    daemon.enrol(&bench.client, None);
    let mut expected = Vec::new();
    for round in 0..5 {
        let mut streams: Vec<_> = (0..RACERS).map(|_| dial(&bench, WEB)).collect();
        for (number, stream) in streams.iter_mut().enumerate() {
            let payload = format!("round {round} connection {number}").into_bytes();
            stream.write_all(&payload).unwrap();
            let mut back = vec![0; payload.len()];
            stream.read_exact(&mut back).unwrap();
            assert_eq!(back, payload);
            expected.push(with(&HEADER, &payload));
        }
    }
    // Each a moment later than the one before: the race is met from both sides.
    let mut spin = 0_u64;
    for number in 0..RACERS {
        let mut stream = dial(&bench, WEB);
        for step in 0..(number as u64 * 2_000) {
            spin = std::hint::black_box(spin.wrapping_add(step));
        }
        let payload = format!("late connection {number}").into_bytes();
        stream.write_all(&payload).unwrap();
        expected.push(with(&HEADER, &payload));
    }
    wait_received(&recorder, &expected);
    assert_eq!(counter(&daemon, "waypoint_header_missed"), 0);
}

#[test]
fn a_client_that_leaves_in_silence_is_counted() {
    let bench = bench("wp_leaves");
    let _recorder = recorder(&bench, Reply::Keep);
    let daemon = bench.scene.start_daemon_with(|options| {
        options.args = vec!["--waypoint-silence-ms".into(), "60000".into()];
    });
    daemon.enrol(&bench.client, None);
    drop(dial(&bench, WEB));
    wait_until("it to be counted", PATIENCE, || counter(&daemon, "waypoint_header_unsent") == 1);
}

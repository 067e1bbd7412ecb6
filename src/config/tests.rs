//! What may be set, and what is refused in which words.

use super::*;

fn three_nodes() -> NodeConfig {
    NodeConfig {
        cluster: CLUSTER_DEFAULT.into(),
        node_id: NodeId(2),
        client_address: "10.0.0.2:2070".into(),
        peer_listen: Some("0.0.0.0:2071".into()),
        peer_address: "10.0.0.2:2071".into(),
        priority: 1,
        voters: parse_peers("1=10.0.0.1:2071,2=10.0.0.2:2071,3=[fe80::3]:2071").unwrap(),
        partitions: PARTITIONS_DEFAULT,
        tick: ELECTION_TIMEOUT_DEFAULT / ELECTION_TICKS,
        heartbeat_ticks: HEARTBEAT_TICKS,
        election_ticks: ELECTION_TICKS,
        log_blobs_max: limits::WAL_BLOBS_MAX,
        keeping: Keeping::default(),
    }
}

fn refused(change: impl FnOnce(&mut NodeConfig)) -> String {
    let mut config = three_nodes();
    change(&mut config);
    config.checked().unwrap_err().to_string()
}

#[test]
fn a_plain_configuration_passes_unchanged() {
    assert_eq!(three_nodes().checked(), Ok(three_nodes()));
}

#[test]
fn a_peer_list_without_oneself_is_refused() {
    let message = refused(|config| config.node_id = NodeId(4));
    assert!(message.contains("(1, 2, 3) does not contain this node, 4"), "{message}");
}

#[test]
fn node_id_zero_is_refused_everywhere() {
    assert!(refused(|config| config.node_id = NodeId(0)).contains("node id 0"));
    assert_eq!(parse_peers("0=a:1"), Err(ConfigError::NodeIdZero));
}

#[test]
fn a_node_id_that_comes_twice_is_refused_however_it_is_written() {
    assert_eq!(
        parse_peers("1=a:1,2=b:1,1=c:1"),
        Err(ConfigError::DuplicatePeer(NodeId(1)))
    );
    assert_eq!(parse_peers("1=a:1,01=b:1"), Err(ConfigError::DuplicatePeer(NodeId(1))));
}

#[test]
fn a_peer_address_that_comes_twice_is_refused() {
    let message = refused(|config| {
        config.voters.insert(NodeId(3), "10.0.0.1:2071".into());
    });
    assert!(
        message.contains("nodes 1 and 3 have the same peer address 10.0.0.1:2071"),
        "{message}"
    );
}

#[test]
fn too_many_nodes_are_refused_and_the_most_allowed_are_not() {
    let most = limits::NODES_MAX as u64;
    let voters = |n| (1..=n).map(|id| (NodeId(id), format!("h{id}:1"))).collect();
    assert!(
        NodeConfig {
            voters: voters(most),
            ..three_nodes()
        }
        .checked()
        .is_ok()
    );
    assert!(refused(|config| config.voters = voters(most + 1)).contains("10 nodes are too many"));
}

#[test]
fn partitions_stay_within_their_limits() {
    for partitions in [1, limits::PARTITIONS_MAX] {
        assert!(
            NodeConfig {
                partitions,
                ..three_nodes()
            }
            .checked()
            .is_ok()
        );
    }
    for partitions in [0, limits::PARTITIONS_MAX + 1] {
        assert!(refused(|config| config.partitions = partitions).contains(&format!("{partitions} partitions")));
    }
}

#[test]
fn the_election_timeout_stays_within_its_limits() {
    let tick = |ms: u64| Duration::from_millis(ms) / ELECTION_TICKS;
    for ms in [limits::ELECTION_TIMEOUT_MS_MIN, limits::ELECTION_TIMEOUT_MS_MAX] {
        assert!(
            NodeConfig {
                tick: tick(ms),
                ..three_nodes()
            }
            .checked()
            .is_ok(),
            "{ms}"
        );
    }
    for ms in [
        0,
        limits::ELECTION_TIMEOUT_MS_MIN - 20,
        limits::ELECTION_TIMEOUT_MS_MAX + 20,
    ] {
        assert!(
            refused(|config| config.tick = tick(ms)).contains("election timeout"),
            "{ms}"
        );
    }
}

#[test]
fn addresses_need_a_host_and_a_port() {
    for (address, reason) in [
        ("127.0.0.1", "no port"),
        (":2070", "no host"),
        ("h:", "not a number"),
        ("h:65536", "not a number"),
        ("h:0", "port 0"),
        ("::1:2070", "brackets"),
        ("http://h:2070", "not a name"),
        ("", "no port"),
    ] {
        let message = check_address("the client address", address).unwrap_err().to_string();
        assert!(
            message.contains(reason) && message.contains("give HOST:PORT"),
            "{address}: {message}"
        );
    }
    assert_eq!(check_address("the client address", "[::1]:2070"), Ok(()));
}

#[test]
fn clients_of_a_cluster_are_never_told_an_address_that_means_every_interface() {
    assert!(refused(|config| config.client_address = "0.0.0.0:2070".into()).contains("--advertise"));
    assert!(refused(|config| config.client_address = "[::]:2070".into()).contains("--advertise"));
}

#[test]
fn cluster_names_are_short_and_printable() {
    for name in [String::new(), "x".repeat(limits::CLUSTER_BYTES_MAX + 1), "a\nb".into()] {
        assert!(refused(|config| config.cluster = name).contains("the cluster name"));
    }
    let longest = "x".repeat(limits::CLUSTER_BYTES_MAX);
    assert!(
        NodeConfig {
            cluster: longest,
            ..three_nodes()
        }
        .checked()
        .is_ok()
    );
}

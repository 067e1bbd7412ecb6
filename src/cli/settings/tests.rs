//! Where settings come from, which one wins, and the defaults.

use super::*;

fn resolve(toml: &str) -> Result<ServeConfig, ConfigError> {
    Settings::from_toml(toml).unwrap().resolve(2)
}

#[test]
fn with_no_setting_at_all_it_is_a_durable_single_node() {
    let config = resolve("").unwrap();
    assert_eq!(config.listen, "127.0.0.1:2070");
    assert_eq!(config.data_dir, PathBuf::from("./kapu-data"));
    assert_eq!(config.threads, 1);
    assert_eq!(config.node.node_id, NodeId(1));
    assert_eq!(config.node.client_address, "127.0.0.1:2070");
    assert_eq!(config.node.voters.len(), 1);
    assert_eq!(config.node.partitions, 1);
    assert_eq!(config.node.tick, Duration::from_millis(20));
}

#[test]
fn a_file_may_set_everything() {
    let config = resolve(
        r#"
        node_id = 2
        listen = "0.0.0.0:3070"
        advertise = "b.example:3070"
        data_dir = "/var/lib/kapu"
        partitions = 64
        cluster = "blue"
        election_timeout = "1s"
        threads = 4
        [peers]
        1 = "a.example:3071"
        2 = "b.example:3071"
        "#,
    )
    .unwrap();
    assert_eq!(config.listen, "0.0.0.0:3070");
    assert_eq!(config.node.client_address, "b.example:3070");
    assert_eq!(config.node.peer_listen.as_deref(), Some("b.example:3071"));
    assert_eq!(config.node.voters[&NodeId(1)], "a.example:3071");
    assert_eq!((config.node.partitions, config.threads), (64, 4));
    assert_eq!(config.node.cluster, "blue");
    assert_eq!(config.node.tick, Duration::from_millis(50));
}

#[test]
fn a_peer_list_reads_the_same_as_text_and_as_a_table() {
    let list = Settings::from_toml("peers = \"1=a:1, 2=b:2\"").unwrap();
    let table = Settings::from_toml("[peers]\n1 = \"a:1\"\n2 = \"b:2\"").unwrap();
    assert_eq!(list, table);
    assert!(list.peers.is_some());
}

#[test]
fn what_is_set_wins_over_the_file_one_by_one() {
    let flags = Settings {
        listen: Some("h:1".into()),
        ..Settings::default()
    };
    let file = Settings::from_toml("listen = \"h:2\"\npartitions = 3").unwrap();
    let both = flags.or(file);
    assert_eq!(both.listen.as_deref(), Some("h:1"));
    assert_eq!(both.partitions, Some(3));
}

#[test]
fn unknown_and_misspelt_settings_in_a_file_are_refused_with_their_place() {
    let failure = Settings::from_toml("listen = \"h:1\"\npartition = 3").unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
    assert!(
        failure.message.contains("line 2") && failure.message.contains("partition"),
        "{}",
        failure.message
    );
}

#[test]
fn bad_values_in_a_file_say_what_to_give() {
    for (toml, hint) in [
        ("election_timeout = \"0s\"", "give at least 1ms"),
        ("peers = \"1\"", "give ID=HOST:PORT"),
        ("peers = 3", "give peers as"),
        ("partitions = -1", "-1"),
        ("[peers]\n1 = \"a:1\"\n01 = \"b:1\"", "node 1 is twice"),
    ] {
        let message = Settings::from_toml(toml).unwrap_err().message;
        assert!(message.contains(hint), "{toml}: {message}");
    }
}

#[test]
fn a_node_with_peers_must_say_which_one_it_is() {
    assert_eq!(resolve("peers = \"1=a:1,2=b:1\""), Err(ConfigError::WhichNode(2)));
    assert_eq!(
        resolve("peers = \"7=a:1\"\nnode_id = 7").unwrap().node.node_id,
        NodeId(7)
    );
}

#[test]
fn threads_follow_the_cores_within_bounds() {
    assert_eq!([0, 1, 2, 3, 8, 64].map(threads_default), [1, 1, 1, 3, 8, 8]);
    assert_eq!(resolve("threads = 0"), Err(ConfigError::Threads(0)));
    assert_eq!(resolve("threads = 257"), Err(ConfigError::Threads(257)));
}

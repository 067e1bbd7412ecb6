//! A leader that is stopped for longer than a lease, and then goes on as if nothing had happened.

use std::time::Duration;

use kapu::client::CallError;
use kapu::lock::Outcome;
use kapu::types::Resource;
use rustix::process::Signal;

use crate::harness::{Cluster, PARTITIONS};
use crate::ledger::HELD;
use crate::process::DEADLINE;
use crate::requests::{Direct, extend, get, holder, lock_when_free, must_lock, name, owner, try_lock};

const LEASE: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_secs(5);

/// Another name in the partition of `resource`.
fn neighbour(resource: &Resource) -> Resource {
    let names = (0..).map(|number| name(&format!("neighbour-{number}")));
    let mut same = names.filter(|other| other.partition(PARTITIONS) == resource.partition(PARTITIONS));
    same.next().expect("names do not run out")
}

/// The story of every lock service that trusted its leader's own clock: it is stopped with requests in its queue, its leases end, another
/// is elected and grants, and it wakes up with the queue still full and its old view of who holds what.
#[expect(
    clippy::disallowed_methods,
    reason = "requests that must be under way while the test goes on"
)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_was_stopped_grants_nothing_from_its_old_term() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    let (lock, free) = (name("contended"), neighbour(&name("contended")));
    let (first, second, third) = (owner("first"), owner("second"), owner("third"));
    let first_token = must_lock(&client, &lock, &first, LEASE).await;
    let old = cluster.leader_of(&lock).await;
    let direct = Direct::new(cluster.endpoint(old));
    direct.ask(get(&lock), SOON).await.expect("the leader answers");

    cluster.signal(old, Signal::STOP);
    // They wait in the sockets of the stopped node, and are the first that it sees when it goes on.
    let ask = |request| {
        tokio::task::spawn({
            let direct = direct.clone();
            async move { direct.ask(request, DEADLINE).await }
        })
    };
    let waiting = (
        ask(try_lock(&lock, &third, HELD)),
        ask(extend(&lock, &first, HELD)),
        ask(try_lock(&free, &third, HELD)),
    );
    let second_token = lock_when_free(&client, &lock, &second, HELD).await;
    assert!(second_token > first_token, "{second_token} after {first_token}");
    cluster.signal(old, Signal::CONT);

    let contended = waiting.0.await.expect("the task ends");
    assert!(
        !matches!(contended, Ok(Outcome::Locked { .. } | Outcome::Extended { .. })),
        "{contended:?}"
    );
    let extended = waiting.1.await.expect("the task ends");
    assert!(
        !matches!(extended, Ok(Outcome::Locked { .. } | Outcome::Extended { .. })),
        "{extended:?}"
    );
    let neighbour = waiting.2.await.expect("the task ends");
    match &neighbour {
        Ok(Outcome::Locked { fencing_token, .. }) => {
            assert!(*fencing_token > second_token, "{fencing_token} is of the old term");
            assert_eq!(
                holder(&client, &free).await.map(|(owner, token, _)| (owner, token)),
                Some((third, *fencing_token))
            );
        }
        Err(CallError::Request(_) | CallError::Lost { .. }) => {}
        other => panic!("neither granted in the new term nor a failure: {other:?}"),
    }
    println!("the leader that was stopped answered {contended:?}, {extended:?}, {neighbour:?}");

    assert_eq!(
        client.request(extend(&lock, &first, LEASE)).await,
        Ok(Outcome::InvalidOwner)
    );
    assert_eq!(
        holder(&client, &lock).await.map(|(owner, token, _)| (owner, token)),
        Some((second, second_token))
    );
}

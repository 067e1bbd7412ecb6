//! Administration through a client: finds the leader, and asks again until a change is done.
//!
//! Changes are idempotent, so whatever came of an attempt, the same change is simply asked for again.

use std::time::Duration;

use super::Client;
use super::endpoint::Endpoint;
use crate::admin::{AdminReply, AdminRequest};
use crate::error::{AdminError, NotLeader};
use crate::raft::Change;
use crate::types::{NodeId, PartitionId};

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(50);
/// How long one attempt may take.
const ATTEMPT_TIMEOUT_MAX: Duration = Duration::from_secs(2);

impl Client {
    /// Makes a change of members in one partition, and returns when it is made and committed.
    ///
    /// # Errors
    /// [`AdminError`] when it cannot be made, or the timeout has passed: then the last reason why it was not done yet.
    pub async fn change_member(&self, partition: PartitionId, change: Change) -> Result<(), AdminError> {
        let request = AdminRequest::ChangeMember(partition, change);
        self.administer(request, |reply| reply != AdminReply::Begun).await?;
        Ok(())
    }

    /// Begins to hand leadership of a partition over: to `to`, or to whoever is best. Returns to whom.
    ///
    /// # Errors
    /// As [`Client::change_member`].
    pub async fn transfer_leader(&self, partition: PartitionId, to: Option<NodeId>) -> Result<NodeId, AdminError> {
        let request = AdminRequest::TransferLeader(partition, to);
        match self.administer(request, |_| true).await? {
            AdminReply::HandingOverTo(node) => Ok(node),
            AdminReply::Done | AdminReply::Begun => {
                Err(AdminError::Unknown("the node answers another question".to_owned()))
            }
        }
    }

    /// Asks the leader, wherever that is, until it answers with what `is_enough`.
    async fn administer(
        &self,
        request: AdminRequest,
        is_enough: impl Fn(AdminReply) -> bool,
    ) -> Result<AdminReply, AdminError> {
        let started = self.now();
        let mut endpoints = self.endpoints().iter().cycle();
        let mut hinted: Option<Endpoint> = None;
        loop {
            let endpoint = hinted.take().or_else(|| endpoints.next().cloned());
            let endpoint = endpoint.expect("a client has an endpoint");
            let left = self.timeout().saturating_sub(self.now().saturating_sub(started));
            let attempt =
                self.env()
                    .caller
                    .administer(endpoint.as_str(), request.clone(), left.min(ATTEMPT_TIMEOUT_MAX));
            let why = match attempt.await {
                Ok(reply) if is_enough(reply) => return Ok(reply),
                Ok(_) => {
                    hinted = Some(endpoint);
                    AdminError::NotNow("it has begun and is not done".to_owned())
                }
                Err(error) if !error.is_retryable() => return Err(error),
                Err(error) => {
                    hinted = next_endpoint(&endpoint, &error);
                    error
                }
            };
            if self.now().saturating_sub(started) + PAUSE >= self.timeout() {
                return Err(why);
            }
            self.env().clock.sleep(PAUSE).await;
        }
    }
}

/// Whom to ask next, where an answer tells: the leader that it names, or the same node when only time is lacking.
fn next_endpoint(asked: &Endpoint, error: &AdminError) -> Option<Endpoint> {
    match error {
        AdminError::NotLeader(NotLeader { leader, .. }) => {
            let hint = leader.as_ref()?;
            Endpoint::parse(&hint.address).ok()
        }
        AdminError::NotNow(_) => Some(asked.clone()),
        _ => None,
    }
}

//! What a client does: one function an act, the decent ones first, then those at the edge, then those that a lock service must survive.
//!
//! Every act ends in bounded time, whatever the cluster does, because the library's operations do; and soon after the workload has
//! stopped. None of them looks at what another client does.

mod decent;
mod edge;
mod rude;

use super::client::{Actor, After};
use super::load::Act;
pub use decent::try_lock;

/// Does one act with the lock `name`.
pub async fn perform(actor: &mut Actor, act: Act, name: &str) -> After {
    match act {
        Act::Try => decent::acquire_and_work(actor, name, 0).await,
        Act::Wait => decent::acquire_and_work(actor, name, decent::WAIT_MS_MAX).await,
        Act::Keep => decent::keep(actor, name).await,
        Act::Raw => decent::raw(actor, name).await,
        Act::Look => decent::look(actor, name).await,
        Act::Brink => edge::brink(actor, name).await,
        Act::Shorten => edge::shorten(actor, name).await,
        Act::Linger => edge::linger(actor).await,
        Act::Trust => edge::trust(actor, name).await,
        Act::Meddle => rude::meddle(actor, name).await,
        Act::Oversleep => rude::oversleep(actor).await,
        Act::Stall => rude::stall(actor, name).await,
        Act::Leave => rude::leave(actor, name).await,
        Act::Cancel => rude::cancel(actor, name).await,
        Act::Vanish => return rude::vanish(actor, name).await,
    }
    After::Alive
}

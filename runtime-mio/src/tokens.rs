//! What a mio token stands for.

use mio::Token;
use villein_core::io::StreamId;

/// A source of readiness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The resolver or the embedder.
    Waker,
    /// Unix signals.
    Signals,
    /// Gossip datagrams.
    Udp,
    /// New gossip streams.
    Listener,
    /// New RPC clients.
    RpcListener,
    /// A gossip stream.
    Stream(StreamId),
    /// An RPC client.
    Client(u64),
    /// A pipe to or from an event handler's script.
    Script(u64),
}

const FIRST: usize = 8;

impl Source {
    /// The token under which the source is registered.
    ///
    /// A token has as many bits as a pointer. Ids count up from zero, so they do not run out on 64 bits.
    #[expect(clippy::cast_possible_truncation, reason = "an id names a live socket: fewer than 2^31 have existed")]
    pub(crate) const fn token(self) -> Token {
        Token(match self {
            Self::Waker => 0,
            Self::Signals => 1,
            Self::Udp => 2,
            Self::Listener => 3,
            Self::RpcListener => 4,
            Self::Stream(StreamId(id)) => FIRST + 3 * id as usize,
            Self::Client(id) => FIRST + 3 * id as usize + 1,
            Self::Script(id) => FIRST + 3 * id as usize + 2,
        })
    }

    /// The source that was registered under `token`.
    pub(crate) const fn of(token: Token) -> Option<Self> {
        Some(match token.0 {
            0 => Self::Waker,
            1 => Self::Signals,
            2 => Self::Udp,
            3 => Self::Listener,
            4 => Self::RpcListener,
            5..FIRST => return None,
            number => {
                let id = ((number - FIRST) / 3) as u64;
                match (number - FIRST) % 3 {
                    0 => Self::Stream(StreamId(id)),
                    1 => Self::Client(id),
                    _ => Self::Script(id),
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leads_back_to_its_source() {
        for source in [
            Source::Waker,
            Source::Signals,
            Source::Udp,
            Source::Listener,
            Source::RpcListener,
            Source::Stream(StreamId(0)),
            Source::Stream(StreamId(7)),
            Source::Client(0),
            Source::Client(1 << 40),
            Source::Script(0),
            Source::Script(5),
        ] {
            assert_eq!(Source::of(source.token()), Some(source));
        }
        assert_eq!(Source::of(Token(FIRST - 1)), None);
    }
}

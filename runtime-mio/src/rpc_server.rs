//! x
use std::net::{SocketAddr, TcpListener};
use mio::Registry;
use villein_core::Time;
use villein_core::event::{MemberEventKind, MemberInfo};
pub(crate) struct RpcServer(SocketAddr);
impl RpcServer {
    pub(crate) fn new(l: TcpListener, _r: &Registry, _auth: String) -> std::io::Result<Self> { Ok(Self(l.local_addr()?)) }
    pub(crate) fn local_addr(&self) -> SocketAddr { self.0 }
    pub(crate) fn listener_ready(&mut self) {}
    pub(crate) fn client_ready(&mut self, _: u64, _: bool, _: bool) {}
    pub(crate) fn deadline(&self, _: Time) -> Option<Time> { None }
    pub(crate) fn publish(&mut self, _: MemberEventKind, _: &[MemberInfo]) {}
}

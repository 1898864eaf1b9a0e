//! What `backend.<id>.label` may say.

use crate::config::setting::{Default, Sample, Scope, Setting, Shape};

pub(in crate::config) static LABEL_PINS: Setting = Setting {
    scope: Scope::Server,
    name: "label-pins",
    shape: Shape::Path("/sys/fs/bpf/truepeer"),
    default: Default::Derived("none: labels end with the process"),
    docs: "With `handoff = \"label\"`: a folder on a bpf file system in which labels outlive truepeer's process, so that connections of an earlier one still say their client.\n\
           Without it, a connection that is still to be accepted, or is asked again, after truepeer was killed shows truepeer's address.\n\
           Several truepeers may share it. What is in it stays until it is removed or the host restarts; each edition of the programs has a folder of its own.\n\
           Read at start only.",
    sample: Sample::Comment("\"/sys/fs/bpf/truepeer\""),
};

pub(in crate::config) static LABEL_CGROUP: Setting = Setting {
    scope: Scope::Backend,
    name: "label.cgroup",
    shape: Shape::Cgroup,
    default: Default::Derived("found from who listens at the backend's address"),
    docs: "With `handoff = \"label\"`: the control group in which the backend makes its listening socket, or one above it.\n\
           Needed where truepeer cannot see who listens: a backend in a network namespace of its own, such as a container.\n\
           For a unit that is started by a socket unit it is `\"/init.scope\"`, for systemd itself makes the socket.",
    sample: Sample::Comment("\"postfix.service\""),
};

pub(in crate::config) static LABEL_DESTINATION: Setting = Setting {
    scope: Scope::Backend,
    name: "label.destination",
    shape: Shape::Flag,
    default: Default::False,
    docs: "With `handoff = \"label\"` or `\"exec\"`: whether the backend's own end, too, says where the client wanted to go, as in a log or in nginx' `$server_addr`.\n\
           Not for a server that binds another socket to that address, as FTP servers do: it is not this host's.",
    sample: Sample::CommentDefault,
};

pub(in crate::config) static LABEL_SUBSTITUTE: Setting = Setting {
    scope: Scope::Backend,
    name: "label.substitute",
    shape: Shape::Ipv4("192.0.2.66"),
    default: Default::Derived("none: such clients hear a temporary refusal"),
    docs: "With `handoff = \"label\"`: the IPv4 address that stands for every client of IPv6 at a backend that listens on IPv4 only.\n\
           Letting the backend listen on `[::]` is better: then it sees all of them.",
    sample: Sample::Comment("\"192.0.2.66\""),
};

//! The methods of the handles that are not an action's, and which methods each type has.

use auditring_event::flat::FlatMap;
use auditring_event::sanitize::{self, Marks};
use auditring_event::{ActionSpec, Category, Column, Context, FieldSpec, Kind, Target, spec as limits};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyType;
use std::sync::{Arc, Mutex};

use crate::args;
use crate::broker::{Broker, Connect};
use crate::errors;
use crate::ffi::instance;
use crate::handle::{Close, Handle};
use crate::plugin::Plugin;
use crate::session::freeform;
use crate::slow::{self, Call, is_method};

/// A type of handles.
pub(crate) struct Type {
    pub(crate) name: &'static str,
    pub(crate) doc: &'static str,
    /// Whether an action is a method of it.
    pub(crate) has: fn(&ActionSpec) -> bool,
    pub(crate) others: &'static [&'static str],
    pub(crate) properties: &'static [&'static str],
}

/// In the order of `Handle::kind`.
pub(crate) const TYPES: [Type; 4] = [
    Type {
        name: "Session",
        doc: "One client connection: every event of it carries who and where.\n\n\
              Made by `AuditLog.session`. A context manager, plain or async. Safe from any thread.",
        has: is_method,
        others: &["emit", "update", "broker", "plugin", "close", "__enter__", "__exit__"],
        properties: &["id", "closed"],
    },
    Type {
        name: "Broker",
        doc: "One of a session's connections to a broker or upstream: its events carry which, and all of the session's.\n\n\
              Made by `Session.broker`. A context manager, plain or async. Safe from any thread.",
        has: is_broker_method,
        others: &["emit", "close", "__enter__", "__exit__"],
        properties: &["id", "closed", "server", "local", "node_id"],
    },
    Type {
        name: "Plugin",
        doc: "A plugin's handle: its events name the filter and begin with its own package.\n\n\
              Made by `Session.plugin` and `AuditLog.plugin`. Safe from any thread.",
        has: |_| false,
        others: &["emit"],
        properties: &["id", "closed", "filter", "namespace"],
    },
    Type {
        name: "Authorizer",
        doc: "An authorizer's handle: a plugin's, and what it decided.\n\n\
              Made by `plugin(…, authorizer=True)` of a session or the log. Safe from any thread.",
        has: |spec| is_method(spec) && matches!(spec.category, Category::Authorization),
        others: &["emit"],
        properties: &["id", "closed", "filter", "namespace"],
    },
];

/// Whether an action goes by way of a broker.
pub(crate) fn is_broker_method(spec: &ActionSpec) -> bool {
    is_method(spec) && matches!(spec.category, Category::Data | Category::Administration | Category::Request)
}

/// What a method does: the handle, the object around it, and the arguments.
type Run = for<'py> fn(&Arc<Handle>, Bound<'py, PyAny>, &Call<'py>) -> PyResult<Py<PyAny>>;

/// A method that is not an action's.
pub(crate) struct Method {
    pub(crate) name: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) run: Run,
}

/// In the order of `ffi::types::OTHERS`.
pub(crate) const METHODS: [Method; 7] = [
    Method {
        name: "emit",
        doc: "emit($self, action, /, *, outcome=None, status=None, reason=None, operation=None, resource_type=None, \
              resource=None, authority=None, tap=None, object_ref=None, context=None)\n--\n\n\
              Records an event of your own under its package-qualified name.",
        run: |handle, _, call| {
            handle.check_open(call.py)?;
            if let Some((mut encoder, outcome)) = slow::read_freeform(&handle.shared, Some(handle), call)? {
                slow::start(handle, &mut encoder, freeform().category, None);
                handle.put(call.py, &mut encoder, (freeform().code, freeform().category), outcome)?;
            }
            Ok(call.none())
        },
    },
    Method {
        name: "update",
        doc: "update($self, /, *, client_id=None, virtual_cluster=None, local=None, context=None)\n--\n\n\
              Adds what is learnt late; every later row of the session carries it. `context` is merged in.",
        run: update,
    },
    Method {
        name: "broker",
        doc: "broker($self, server, /, *, node_id=None, local=None, duration_ns=None, status=None, reason=None)\n--\n\n\
              Opens a connection to a broker or upstream: `BrokerConnect`. What is emitted by the handle carries server, \
              local end and node id. With a status it could not be opened: the handle is closed already.",
        run: broker,
    },
    Method {
        name: "plugin",
        doc: "plugin($self, /, *, filter, namespace, tap=None, authorizer=False)\n--\n\n\
              A plugin's handle: origin `filter`, names of its own namespace alone; an authorizer's has `operation_*` too.",
        run: |handle, this, call| {
            call.keyword_only("plugin")?;
            let plugin = plugin(&call.known("plugin", &["filter", "namespace", "tap", "authorizer"])?)?;
            instance(call.py, plugin.of_session(call.py, handle)?, Some(&this))
        },
    },
    Method {
        name: "close",
        doc: "close($self, /, *, initiator=None, status=None, reason=None)\n--\n\n\
              Ends it: a session with `ClientClose`, behind the closes of its brokers, a connection with `BrokerClose`. A \
              second close does nothing.",
        run: |handle, _, call| {
            close(handle, call)?;
            Ok(call.none())
        },
    },
    Method { name: "__enter__", doc: "__enter__($self, /)\n--\n\n", run: |_, this, _| Ok(this.unbind()) },
    Method {
        name: "__exit__",
        doc: "__exit__($self, kind, error, trace, /)\n--\n\nCloses; an exception's class is the status, cancellation is none.",
        run: exit,
    },
];

fn update(handle: &Arc<Handle>, _: Bound<'_, PyAny>, call: &Call<'_>) -> PyResult<Py<PyAny>> {
    handle.check_open(call.py)?;
    call.keyword_only("update")?;
    let mut new = Context::default();
    let mut marks = Marks::default();
    for (name, value) in call.known("update", &["client_id", "virtual_cluster", "local", "context"])? {
        match name.as_str() {
            "client_id" => new.client_id = marked(&name, value, limits::SESSION_CLIENT_ID_CAP, &mut marks)?,
            "virtual_cluster" => {
                new.virtual_cluster = marked(&name, value, limits::SESSION_VIRTUAL_CLUSTER_CAP, &mut marks)?;
            }
            "local" => new.listener = args::endpoint("local", value, limits::SESSION_LISTENER_CAP, &mut marks)?,
            _ => new.context = session_map(value, &mut marks)?,
        }
    }
    let changed = handle.change(call.py, |facts| {
        let context = &mut facts.context;
        let replace = |old: &mut Option<String>, new: Option<String>| {
            if new.is_some() {
                *old = new;
            }
        };
        replace(&mut context.client_id, new.client_id);
        replace(&mut context.virtual_cluster, new.virtual_cluster);
        replace(&mut context.listener, new.listener);
        if let Some(map) = new.context {
            context.context.get_or_insert_default().extend(map);
        }
        context.mark(marks);
    });
    let id = handle.session_id().unwrap_or_default();
    if changed { Ok(call.none()) } else { Err(errors::session_closed(call.py, &format!("session {id}"))) }
}

/// A session's own `context` map.
pub(crate) fn session_map(value: &Bound<'_, PyAny>, marks: &mut Marks) -> PyResult<Option<FlatMap>> {
    let (text, done) = args::context_map("context", value, limits::SESSION_CONTEXT_CAP, &|_| false)?;
    *marks |= done;
    Ok(text.and_then(|text| auditring_event::flat::context(&text)))
}

/// A text within its cap, and what was done to it among the marks.
fn marked(name: &str, value: &Bound<'_, PyAny>, cap: usize, marks: &mut Marks) -> PyResult<Option<String>> {
    let (text, done) = args::text(name, value, cap)?;
    *marks |= done;
    Ok(Some(text))
}

/// What the catalog says of the node id that a connection names.
const NODE_ID: FieldSpec = FieldSpec {
    name: "node_id",
    kind: Kind::Int,
    target: Target::Column(Column::NodeId),
    required: false,
    cap: 0,
    min: i32::MIN as i64,
    max: i32::MAX as i64,
    words: &[],
    redact: None,
    doc: "",
};

fn broker(handle: &Arc<Handle>, this: Bound<'_, PyAny>, call: &Call<'_>) -> PyResult<Py<PyAny>> {
    let server = match &call.values[..call.given] {
        [server] => server,
        given => {
            let message = format!("broker() takes the server as its one positional argument, {} given", given.len());
            return Err(PyTypeError::new_err(message));
        }
    };
    let mut connect = Connect::default();
    connect.server = args::endpoint("server", server, limits::SESSION_SERVER_CAP, &mut connect.marks)?
        .ok_or_else(|| PyValueError::new_err("broker() needs to know which server: its address or name"))?;
    for (name, value) in call.known("broker", &["node_id", "local", "duration_ns", "status", "reason"])? {
        match name.as_str() {
            "node_id" => connect.node_id = i32::try_from(args::int(&NODE_ID, value)?).ok(),
            "local" => {
                connect.local = args::endpoint("local", value, limits::SESSION_SERVER_LOCAL_CAP, &mut connect.marks)?;
            }
            "duration_ns" => connect.duration_ns = Some(args::int(&crate::broker::BROKER_CONNECT.fields[0], value)?),
            "status" => connect.status = Some(args::text("status", value, usize::MAX)?.0),
            _ => connect.reason = marked("reason", value, limits::REASON_CAP, &mut connect.marks)?,
        }
    }
    instance(call.py, Broker::open(call.py, handle, connect)?, Some(&this))
}

/// A plugin as keywords describe it, without a session yet.
pub(crate) fn plugin(keywords: &[(String, &Bound<'_, PyAny>)]) -> PyResult<Plugin> {
    let (mut filter, mut namespace, mut tap, mut authorizer, mut authority) = (None, None, None, false, None);
    let mut marks = Marks::default();
    for (name, value) in keywords {
        match name.as_str() {
            "filter" => filter = marked(name, value, limits::SESSION_FILTER_CAP, &mut marks)?,
            // What is no name is refused below; none that is cut or altered is one.
            "namespace" => namespace = Some(args::text(name, value, limits::NAME_CAP)?),
            "tap" => tap = marked(name, value, limits::SESSION_TAP_CAP, &mut marks)?,
            "authority" => authority = Some(args::authority(value)?),
            _ => authorizer = value.extract()?,
        }
    }
    let Some(filter) = filter.filter(|filter| !filter.is_empty()) else {
        return Err(PyTypeError::new_err("plugin() needs \"filter\": the name under which its events stand"));
    };
    let Some((namespace, done)) = namespace else {
        return Err(PyTypeError::new_err(
            "plugin() needs \"namespace\": the package that its events' names begin with",
        ));
    };
    if done.any() || !sanitize::action_name_ok(&format!("{namespace}.X")) {
        return Err(PyValueError::new_err(format!(
            "namespace is {namespace:?}: a package of your own in lower case, like \"com.example.kms\" (\"auditring\" is ours)"
        )));
    }
    Ok(Plugin { parent: None, marks, filter, namespace, tap, authorizer, authority, ended: Mutex::new(false) })
}

/// What the catalog keeps of who closed, for both kinds of close.
const INITIATOR_CAP: usize = {
    let spec = auditring_event::spec_at(auditring_event::index_of(auditring_event::code_of("ClientClose")));
    spec.fields[0].cap as usize
};

fn close(handle: &Handle, call: &Call<'_>) -> PyResult<()> {
    call.keyword_only("close")?;
    let (mut initiator, mut status, mut reason) = (None, None, None);
    let mut marks = Marks::default();
    for (name, value) in call.known("close", &["initiator", "status", "reason"])? {
        match name.as_str() {
            "initiator" => initiator = marked("initiator", value, INITIATOR_CAP, &mut marks)?,
            "status" => status = Some(args::text("status", value, usize::MAX)?.0),
            _ => reason = marked("reason", value, limits::REASON_CAP, &mut marks)?,
        }
    }
    let (initiator, status, reason) = (initiator.as_deref(), status.as_deref(), reason.as_deref());
    handle.close(call.py, Close { initiator, status, reason, marks })
}

fn exit(handle: &Arc<Handle>, _: Bound<'_, PyAny>, call: &Call<'_>) -> PyResult<Py<PyAny>> {
    let status = match call.values.first() {
        Some(kind) if !kind.is_none() && !is_cancellation(kind)? => {
            let name = kind.cast::<PyType>()?.name();
            Some(name.map_or_else(|_| "Exception".to_owned(), |name| name.to_string_lossy().into_owned()))
        }
        _ => None,
    };
    handle.close(call.py, Close { status: status.as_deref(), ..Close::default() })?;
    Ok(false.into_pyobject(call.py)?.to_owned().into_any().unbind())
}

/// `asyncio.CancelledError` and `GeneratorExit`: the host stopped on purpose.
fn is_cancellation(kind: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = kind.py();
    let kind = kind.cast::<PyType>()?;
    if kind.is_subclass_of::<pyo3::exceptions::PyGeneratorExit>()? {
        return Ok(true);
    }
    kind.is_subclass(&py.import("asyncio")?.getattr("CancelledError")?)
}

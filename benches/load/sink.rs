//! A ROUTER that answers a hello and drops the rest: what libzmq alone costs.

use std::time::Duration;

/// Until it is killed.
pub(crate) fn run() -> ! {
    serve().unwrap_or_else(|error| panic!("the sink: {error}"));
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn serve() -> zmq::Result<()> {
    let context = zmq::Context::new();
    let socket = context.socket(zmq::ROUTER)?;
    let keys = zmq::CurveKeyPair::new()?;
    socket.set_curve_server(true)?;
    socket.set_curve_publickey(&keys.public_key)?;
    socket.set_curve_secretkey(&keys.secret_key)?;
    socket.set_rcvhwm(64)?;
    socket.set_sndhwm(16)?;
    socket.set_backlog(4096)?;
    socket.bind("tcp://127.0.0.1:*")?;
    let endpoint = socket.get_last_endpoint()?.unwrap_or_default();
    let address = endpoint.trim_start_matches("tcp://");
    let key = zmq::z85_encode(&keys.public_key).map_err(|_| zmq::Error::EINVAL)?;
    eprintln!("Listening for agents at {address}; the public key they need is {key}");
    loop {
        let id = socket.recv_msg(0)?;
        let tag = socket.recv_msg(0)?;
        let control = &*tag == b"CTRL";
        while socket.get_rcvmore()? {
            socket.recv_msg(0)?;
        }
        if control {
            socket.send_multipart([&*id, b"CTRL", b"model"], zmq::DONTWAIT)?;
        }
    }
}

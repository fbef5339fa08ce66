//! Network namespaces with a server, a gateway and a client that has the fault.

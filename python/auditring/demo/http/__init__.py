"""The act with HTTP: `serve` (a child process) runs `upstream` or `gateway`; `act` drives the two with `client`."""

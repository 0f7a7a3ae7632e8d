"""What a virtual machine in Azure finds around it: metadata service, wire server, agent plugin, DHCP, DNS.

`vm` is what is to be known of one machine. `imds`, `wireserver` and `hostgaplugin` turn a request into a reply and
touch nothing else; `server` puts them on loopback sockets. `frames`, `dhcp`, `dns` and `gateway` are the
layer-2 shim between the guest's NIC and the user network; `pump` moves the frames. `serve` is the process that runs all
of it for one machine, `handle` its owner's side.
"""

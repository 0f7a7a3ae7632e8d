# mine
/usr/sbin/waagent -force -deprovision && sync

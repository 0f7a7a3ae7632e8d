echo not pushed yet

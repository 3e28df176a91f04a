"""Both services, in this process or in another one."""

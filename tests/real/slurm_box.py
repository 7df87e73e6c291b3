"""A real Slurm on loopback: munge, slurmdbd on a MariaDB of its own, slurmctld, four nodes that say they are large.

The nodes are fake only in their size: `config_overrides` has them believe the lines below and not the hardware, so
that the sizes people really ask for can be asked for here. Everything listens on 127.0.0.1.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess

import pytest

from tests.databases import free_port
from tests.real.sshd_box import SshdBox, answers
from tests.waiting import wait_for

NODES, CPUS, MEMORY_MB = 4, 16, 65536
NEEDED = ("munged", "slurmctld", "slurmd", "slurmdbd", "sacctmgr", "mariadbd", "mariadb-install-db", "sshd")


def missing() -> list[str]:
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    return [each for each in NEEDED if shutil.which(each, path=path) is None]


class SlurmBox(SshdBox):
    """A cluster with one person on it, whose login node is this machine."""

    def __init__(self) -> None:
        if lacking := missing():
            pytest.skip(f"Slurm cannot be tried here: {', '.join(lacking)} not installed")
        super().__init__(prefix="collegium-slurm-")
        self.host = socket.gethostname().split(".")[0]
        self.ports = {name: free_port() for name in ("ctld", "dbd", "db", *self.nodes())}
        self.conf = self.base / "etc" / "slurm.conf"
        self.munge = self.base / "munge" / "munge.sock"
        for name in ("munge", "state", "spool", "etc"):
            (self.base / name).mkdir(mode=0o755)
        try:
            self._start_munge()
            self._start_accounting()
            self.conf.write_text(self._slurm_conf())
            self.conf.chmod(0o644)
            self.env["SLURM_CONF"] = str(self.conf)
            self.spawn("slurmdbd", ["/usr/sbin/slurmdbd", "-D"], self.env)
            wait_for(lambda: answers(self.ports["dbd"]), 60, "slurmdbd listening")
            self.admin("sacctmgr", "-i", "add", "cluster", "testbox")
            self.start_controller("-c")
            for node in self.nodes():
                (self.base / "spool" / node).mkdir()
                self.spawn(node, ["/usr/sbin/slurmd", "-D", "-N", node], self.env)
            self.restart()
            wait_for(
                lambda: self.admin("sinfo", "-h", "-p", "debug", "-o", "%T %D") == f"idle {NODES}", 40, "idle nodes"
            )
        except BaseException:
            self.close()
            raise

    def nodes(self) -> list[str]:
        return [f"fake{number}" for number in range(1, NODES + 1)]

    def admin(self, *argv: str) -> str:
        """What one of Slurm's own commands says to root."""
        done = subprocess.run(argv, env={**os.environ, **self.env}, capture_output=True, text=True, check=False)
        return (done.stdout + done.stderr).strip()

    def starts_again(self, native: str) -> bool:
        """Have a requeued job start in a moment; Slurm would wait two minutes. False while its first attempt ends.

        Slurm's daemons refuse what was permitted within the second in which the first attempt was revoked, and then the
        job has failed with that attempt's exit code.
        """
        ends = subprocess.run(["pgrep", "-f", rf"slurmstepd: \[{native}\."], capture_output=True, check=False)
        if ends.returncode == 0 or self.admin("squeue", "-h", "-j", native, "-o", "%T") != "PENDING":
            return False
        self.admin("scontrol", "update", f"jobid={native}", "starttime=now+3")
        return True

    def start_controller(self, *options: str) -> None:
        self.spawn("slurmctld", ["/usr/sbin/slurmctld", "-D", *options], self.env)
        wait_for(lambda: answers(self.ports["ctld"]), 30, "slurmctld listening")

    def empty(self) -> None:
        """No job is left in the queue, and of earlier tests nothing in the home; what begins with a dot stays."""
        self.admin("scancel", f"--user={self.user}", "--full")
        wait_for(lambda: not self.admin("squeue", "-h", "-o", "%i"), 30, "an empty queue")
        for each in self.home.glob("[!.]*"):
            each.unlink() if each.is_symlink() or not each.is_dir() else shutil.rmtree(each)

    def close(self) -> None:
        if "slurmctld" in self.running:
            self.empty()
        super().close()

    def _start_munge(self) -> None:
        key = self.base / "munge" / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        folder = self.base / "munge"
        # --force: it would refuse a folder below one that everybody may write to.
        options = {"key-file": key, "socket": self.munge, "pid-file": folder / "pid", "seed-file": folder / "seed"}
        options["log-file"] = self.base / "log" / "munged.log"
        munged = ["/usr/sbin/munged", "-F", "--force"]
        self.spawn("munged", [*munged, *(f"--{name}={value}" for name, value in options.items())])
        wait_for(self.munge.exists, 20, "munge's socket")

    def _start_accounting(self) -> None:
        folder, password = self.base / "mysql", secrets.token_hex(12)
        folder.mkdir()
        shutil.chown(folder, "mysql", "mysql")
        data, socket_file = folder / "data", folder / "s.sock"
        install = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--user=mysql", "--skip-test-db"]
        subprocess.run([*install, "--auth-root-authentication-method=normal"], check=True, capture_output=True)
        options = {"datadir": data, "user": "mysql", "socket": socket_file, "pid-file": folder / "pid"}
        options |= {"port": self.ports["db"], "bind-address": "127.0.0.1", "innodb-buffer-pool-size": "64M"}
        options |= {"innodb-flush-log-at-trx-commit": 0, "innodb-lock-wait-timeout": 900, "skip-name-resolve": 1}
        mariadbd = ["/usr/sbin/mariadbd", "--no-defaults", "--skip-log-bin"]
        self.spawn("mariadbd", [*mariadbd, *(f"--{name}={value}" for name, value in options.items())])
        wait_for(lambda: socket_file.exists() and answers(self.ports["db"]), 60, "MariaDB listening")
        grant = (
            "create database slurm_acct_db; "
            f"create user slurm@'127.0.0.1' identified by '{password}'; "
            "grant all on slurm_acct_db.* to slurm@'127.0.0.1';"
        )
        subprocess.run(
            ["mariadb", "--no-defaults", f"--socket={socket_file}", "-uroot", "-e", grant],
            check=True,
            capture_output=True,
        )
        conf = self.base / "etc" / "slurmdbd.conf"
        conf.write_text(f"""AuthType=auth/munge
AuthInfo=socket={self.munge}
DbdHost={self.host}
DbdAddr=127.0.0.1
DbdPort={self.ports["dbd"]}
CommunicationParameters=NoInAddrAny
SlurmUser=root
PidFile={self.base}/slurmdbd.pid
LogFile={self.base}/log/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={self.ports["db"]}
StorageUser=slurm
StoragePass={password}
StorageLoc=slurm_acct_db
CommitDelay=0
""")
        conf.chmod(0o600)

    def _slurm_conf(self) -> str:
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={self.host} NodeAddr=127.0.0.1 Port={self.ports[node]} "
            f"CPUs={CPUS} RealMemory={MEMORY_MB} State=UNKNOWN"
            for node in self.nodes()
        )
        return f"""ClusterName=testbox
SlurmctldHost={self.host}(127.0.0.1)
SlurmctldPort={self.ports["ctld"]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={self.munge}
CredType=cred/munge
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={self.base}/state
SlurmdSpoolDir={self.base}/spool/%n
SlurmctldPidFile={self.base}/slurmctld.pid
SlurmdPidFile={self.base}/slurmd.%n.pid
SlurmctldLogFile={self.base}/log/slurmctld.log
SlurmdLogFile={self.base}/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=2,bf_interval=1,default_queue_depth=1000
PriorityType=priority/basic
MaxJobCount=50000
MinJobAge=300
KillWait=2
InactiveLimit=0
Waittime=0
SlurmctldTimeout=60
SlurmdTimeout=300
MessageTimeout=30
CompleteWait=0
JobRequeue=1
MailProg=/bin/true
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={self.ports["dbd"]}
AccountingStoragePass={self.munge}
AccountingStoreFlags=job_comment
{nodes}
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE DefaultTime=60 DefMemPerCPU=100 State=UP OverSubscribe=NO
PartitionName=narrow Nodes=fake1 MaxTime=10 DefMemPerCPU=100 State=UP
"""

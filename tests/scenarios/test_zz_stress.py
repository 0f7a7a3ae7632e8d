import json, os, random, subprocess, sys, time, signal
from pathlib import Path
from aibemu.clock import SystemClock
from aibemu.engine.sweep import sweep
from aibemu.engine.runs import RunStore
TEMPLATE = Path(__file__).parent / "cases/success-all-targets/template.json"
def test_stress(tmp_path, scenario_home):
    env = {**os.environ, "AIBEMU_HOME": str(scenario_home.runs.parent)}
    guest = tmp_path / "g.yaml"; guest.write_text("- {match: 'sh /tmp/DeprovisioningScript.sh', delay: 0.1}")
    t = tmp_path/"t"; import shutil; shutil.copytree(TEMPLATE.parent, t)
    cmd=[sys.executable,"-m","aibemu","run",str(t/"template.json"),"--driver","dryrun","--driver-option",f"script={guest}","--out",str(tmp_path/"out")]
    rng=random.Random(5); said=[]; codes=[]
    end=time.time()+70
    while time.time()<end:
        ps=[subprocess.Popen(cmd,env=env,stdout=subprocess.PIPE,stderr=subprocess.PIPE,text=True) for _ in range(2)]
        time.sleep(rng.uniform(0.5,3.5))
        ps[0].send_signal(rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGINT]))
        said+=sweep(scenario_home,SystemClock())
        for p in ps:
            o,e=p.communicate(timeout=60); codes.append(p.returncode)
            if p.returncode not in (0,-9,130): print("RC",p.returncode,e[-1500:])
            if "Traceback" in e or "bug" in e or "could not be cleaned" in e: print("ERR", e[-1500:])
        said+=sweep(scenario_home,SystemClock())
    print("codes",codes); print(*said[-5:],sep="\n")
    time.sleep(0.5); sweep(scenario_home,SystemClock())
    left=[p for p in scenario_home.runs.parent.rglob("*") if p.name.endswith(".partial") or p.name.startswith(".new-") or p.name in("machines","work")]
    left+=[p for p in tmp_path.rglob("*.partial")]
    print("left",left)
    print("creating",[d for d in scenario_home.cloud.rglob("versions/*/resource.json") if json.loads(d.read_text())["properties"]["provisioningState"]!="Succeeded"])
    print("unfinished",[r.id for r in RunStore(scenario_home.runs).runs() if not r.finished()])
    print("states",[list(r.events())[-1].fields.get("state") for r in RunStore(scenario_home.runs).runs()])
    print("tmp", list((scenario_home.images/"tmp").glob("*")), len(list((scenario_home.images/"blobs").glob("*"))), len(list((scenario_home.images/"records").glob("*"))))
    assert 0

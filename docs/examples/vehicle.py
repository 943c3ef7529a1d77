# vehicle.py - a vehicle in ten lines: python3 vehicle.py ID PASSWORD PORT. It needs Debian's python3-paho-mqtt.
import json, sys
from paho.mqtt import client, subscribe

me, password, port = sys.argv[1:]
done = set()

def on_request(car, _, message):
    request = json.loads(message.payload)
    if request["request_id"] not in done:  # it may come twice: do it once, answer each time
        print("doing", request["name"], request["params"], flush=True)
    done.add(request["request_id"])
    car.publish(request["response_topic"], json.dumps({"request_id": request["request_id"], "status": "succeeded"}), qos=1)

subscribe.callback(on_request, f"vehicles/{me}/commands/request", qos=1, hostname="127.0.0.1", port=int(port), client_id=me,
    auth={"username": me, "password": password}, protocol=client.MQTTv5, clean_session=None)

// harness.mjs - what a system test needs, in one import. Importing it starts nothing; what is started is ended with the file.
export { build, folder, isLong, isSanitized, run } from './children.mjs';
export { makeAuthority } from './certificates.mjs';
export { poll, Record, untilClosed } from './record.mjs';
export { adminToken, attackersTokens, earlyToken, forgedToken, hugeToken, token } from './tokens.mjs';
export { createDatabase, gatewayPassword, isBrokerGiven, startBroker, startInstallation, startNode, tablesNaming, vehicleIds } from './servers.mjs';
export { grant, openSocket, openStream, registerVehicle, rest, RpcError, sendCommand } from './apps.mjs';
export { connectVehicle, feedOf, Reference, vehicle } from './vehicles.mjs';

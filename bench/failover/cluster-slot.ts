/** Redis Cluster's slot of a key without a hash tag: CRC16 (XMODEM) mod 16384. */
export function clusterSlot(key: string): number {
  let crc = 0;
  for (let i = 0; i < key.length; i++) {
    crc ^= key.charCodeAt(i) << 8;
    for (let bit = 0; bit < 8; bit++)
      crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
  }
  return crc & 16383;
}

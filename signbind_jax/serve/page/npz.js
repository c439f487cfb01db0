// Arrays as an .npz file: NumPy's format in a ZIP archive without compression.

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  return crc;
});

function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = TABLE[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return ~crc >>> 0;
}

const text = (string) => new TextEncoder().encode(string);

// An array in NumPy's format; `type` as NumPy writes it, such as "<f4".
function npy(type, shape, data) {
  const sizes = shape.map((size) => `${size},`).join("");
  const header = `{'descr': '${type}', 'fortran_order': False, 'shape': (${sizes}), }`;
  const length = Math.ceil((10 + header.length + 1) / 64) * 64 - 10;
  const whole = new Uint8Array(10 + length + data.byteLength);
  whole.set([0x93, ...text("NUMPY"), 1, 0, length & 0xff, length >> 8]);
  whole.set(text(header.padEnd(length - 1) + "\n"), 10);
  whole.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), 10 + length);
  return whole;
}

// A number of a directory or file of the archive, little-endian.
function fields(...values) {
  const bytes = [];
  for (const [size, value] of values) for (let i = 0; i < size; i++) bytes.push((value / 2 ** (8 * i)) & 0xff);
  return Uint8Array.from(bytes);
}

// A Blob of arrays: name -> [type, shape, typed array].
export function npz(arrays) {
  const parts = [];
  const directory = [];
  let offset = 0;
  for (const [name, [type, shape, values]] of Object.entries(arrays)) {
    const data = npy(type, shape, values);
    const file = text(`${name}.npy`);
    const about = fields([2, 20], [2, 0], [2, 0], [2, 0], [2, 33], [4, crc32(data)], [4, data.length], [4, data.length], [2, file.length], [2, 0]);
    parts.push(fields([4, 0x04034b50]), about, file, data);
    directory.push(fields([4, 0x02014b50], [2, 20]), about, fields([2, 0], [2, 0], [2, 0], [4, 0], [4, offset]), file);
    offset += 4 + about.length + file.length + data.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const n = Object.keys(arrays).length;
  const end = fields([4, 0x06054b50], [2, 0], [2, 0], [2, n], [2, n], [4, size], [4, offset], [2, 0]);
  return new Blob([...parts, ...directory, end]);
}

// A string as NumPy's array of no dimension.
export const word = (string) => [`<U${string.length}`, [], Uint32Array.from(string, (c) => c.codePointAt(0))];
export const number = (value) => ["<f8", [], Float64Array.of(value)];

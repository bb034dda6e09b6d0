import Foundation

/// What ganzoo wrote into a `.tflite`: its inputs, what comes out, classes, directions.
struct Metadata: Decodable {
    struct Input: Decodable {
        let name: String
        let shape: [Int]
        let distribution: String
        let classes: Int?

        var isLatents: Bool { distribution == "standard normal" }
        var size: Int { shape.reduce(1, *) }
    }

    struct Output: Decodable {
        let name: String
        let shape: [Int]
        let range: [Float]
    }

    struct Directions: Decodable {
        let shape: [Int]
        let float16: String
    }

    enum Problem: LocalizedError {
        case damaged, absent, otherVersion

        var errorDescription: String? {
            switch self {
            case .damaged: return "This is no TFLite file, or it is damaged."
            case .absent: return "This TFLite file holds no metadata of ganzoo."
            case .otherVersion: return "This TFLite file is of another version of ganzoo."
            }
        }
    }

    let metadata_version: Int
    let entry: String
    let inputs: [Input]
    let outputs: [Output]
    let class_names: [String]
    let directions: [String: Directions]

    static let name = "ganzoo"
    static let version = 1
    private static let modelBuffers = 4 // fields of TFLite's schema, by their numbers
    private static let modelMetadata = 6

    /// Reads the metadata of a file.
    static func of(_ file: Data) throws -> Metadata {
        let bytes = Bytes(content: [UInt8](file))
        let model = try bytes.offset(0)
        let buffers = try bytes.tables(bytes.field(model, modelBuffers))
        for entry in try bytes.tables(bytes.field(model, modelMetadata)) {
            let place = try bytes.field(entry, 0)
            guard place > 0, try bytes.text(place + bytes.offset(place)) == Data(name.utf8) else { continue }
            let number = try bytes.field(entry, 1)
            let index = number == 0 ? 0 : try bytes.offset(number)
            guard buffers.indices.contains(index) else { throw Problem.damaged }
            let content = try bytes.field(buffers[index], 0)
            guard let found = try? JSONDecoder().decode(Metadata.self, from: bytes.text(content + bytes.offset(content)))
            else { throw Problem.damaged }
            guard found.metadata_version == version else { throw Problem.otherVersion }
            return found
        }
        throw Problem.absent
    }

    var latents: Input? { inputs.first { $0.isLatents } }
    var classes: Int { inputs.compactMap { $0.classes }.max() ?? 0 }

    /// Unit vectors along which samples change most, the strongest first.
    var directionVectors: [[Float]] {
        guard let latents = latents, let packed = directions[latents.name], let halves = Data(base64Encoded: packed.float16),
              packed.shape.count == 2, halves.count == 2 * packed.shape[0] * packed.shape[1]
        else { return [] }
        let numbers = stride(from: 0, to: halves.count, by: 2).map { place in
            Float(Float16(bitPattern: UInt16(halves[place]) | UInt16(halves[place + 1]) << 8))
        }
        return (0..<packed.shape[0]).map { row in Array(numbers[row * packed.shape[1]..<(row + 1) * packed.shape[1]]) }
    }

    /// Flatbuffers: a table's field is found by its number, through the table's list of offsets.
    private struct Bytes {
        let content: [UInt8]

        func number(_ place: Int, _ size: Int) throws -> Int {
            guard place >= 0, place + size <= content.count else { throw Problem.damaged }
            return (0..<size).reduce(0) { $0 | Int(content[place + $1]) << (8 * $1) }
        }

        func offset(_ place: Int) throws -> Int { try number(place, 4) }

        func field(_ table: Int, _ index: Int) throws -> Int {
            let offsets = table - Int(Int32(truncatingIfNeeded: try offset(table)))
            let at = 4 + 2 * index
            guard at < (try number(offsets, 2)) else { return 0 }
            let found = try number(offsets + at, 2)
            return found == 0 ? 0 : table + found
        }

        func tables(_ place: Int) throws -> [Int] {
            guard place > 0 else { return [] }
            let start = place + (try offset(place))
            let count = try offset(start)
            guard count <= content.count / 4 else { throw Problem.damaged }
            return try (0..<count).map { start + 4 + 4 * $0 + (try offset(start + 4 + 4 * $0)) }
        }

        func text(_ start: Int) throws -> Data {
            let size = try offset(start)
            guard start + 4 + size <= content.count else { throw Problem.damaged }
            return Data(content[start + 4..<start + 4 + size])
        }
    }
}

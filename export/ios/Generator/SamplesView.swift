import SwiftUI
import UIKit

/// Samples, and what makes them: the generator works on a queue of its own.
@MainActor
final class Samples: ObservableObject {
    struct Sample: Identifiable {
        let id: Int
        let latents: [Float]
        let classId: Int
        var shifts: [Float]
        var image: CGImage?
    }

    @Published var samples: [Sample] = []
    @Published var chosen: [Int] = []
    @Published var message: String?
    @Published var seed: UInt64 = 0
    @Published var classId = -1 // all in turn
    @Published var truncation: Float = 1
    private(set) var generator: Generator?
    private let queue = DispatchQueue(label: "generator")
    private var drawing = 0 // an older drawing than this stops

    init() {
        do {
            guard let path = Bundle.main.path(forResource: "generator", ofType: "tflite") else {
                throw CocoaError(.fileNoSuchFile)
            }
            generator = try Generator(path: path)
            renew()
        } catch {
            message = error.localizedDescription
        }
    }

    func renew() {
        guard let generator = generator, let size = generator.metadata.latents?.size else { return }
        chosen = []
        samples = (0..<16).map { index in
            let turn = index % max(generator.metadata.classes, 1)
            return Sample(
                id: index, latents: normal(count: size, seed: seed &* 1000 &+ UInt64(index)),
                classId: classId >= 0 ? classId : turn, shifts: generator.directions.map { _ in 0 }, image: nil)
        }
        draw(samples.map { $0.id })
    }

    func draw(_ ids: [Int]) {
        drawing += 1
        let mine = drawing
        Task {
            for id in ids where mine == drawing {
                let sample = samples[id]
                samples[id].image = await image(moved(sample), sample.classId)
            }
        }
    }

    func film() {
        guard chosen.count == 2 else { return }
        drawing += 1
        let mine = drawing
        let (first, second) = (samples[chosen[0]], samples[chosen[1]])
        let (from, to) = (moved(first), moved(second))
        Task {
            for frame in 0...48 where mine == drawing {
                let share = 0.5 - 0.5 * cos(2 * Double.pi * Double(frame) / 48)
                let classId = share < 0.5 ? first.classId : second.classId
                samples[first.id].image = await image(between(from, to, share: share), classId)
                try? await Task.sleep(nanoseconds: 33_000_000)
            }
        }
    }

    func choose(_ id: Int) {
        if let place = chosen.firstIndex(of: id) { chosen.remove(at: place) } else { chosen = Array((chosen + [id]).suffix(2)) }
    }

    func shift(_ direction: Int, by value: Float) {
        let ids = chosen.isEmpty ? samples.map { $0.id } : [chosen[0]]
        for id in ids { samples[id].shifts[direction] = value }
        draw(ids)
    }

    func save() {
        let images = (chosen.isEmpty ? samples : chosen.map { samples[$0] }).compactMap { $0.image }
        guard let first = images.first else { return }
        let columns = min(images.count, 4)
        let size = CGSize(width: columns * first.width, height: (images.count + columns - 1) / columns * first.height)
        let format = UIGraphicsImageRendererFormat()
        format.scale = 1
        let sheet = UIGraphicsImageRenderer(size: size, format: format).image { _ in
            for (index, image) in images.enumerated() {
                let place = CGPoint(x: index % columns * first.width, y: index / columns * first.height)
                UIImage(cgImage: image).draw(at: place)
            }
        }
        UIImageWriteToSavedPhotosAlbum(sheet, nil, nil, nil)
    }

    private func moved(_ sample: Sample) -> [Float] {
        guard let directions = generator?.directions else { return sample.latents }
        return sample.latents.indices.map { place in
            zip(sample.shifts, directions).reduce(sample.latents[place]) { $0 + $1.0 * $1.1[place] }
        }
    }

    private func image(_ latents: [Float], _ classId: Int) async -> CGImage? {
        guard let generator = generator else { return nil }
        let truncation = self.truncation
        return await withCheckedContinuation { done in
            queue.async {
                done.resume(returning: try? generator.image(latents: latents, classId: classId, truncation: truncation))
            }
        }
    }
}

struct SamplesView: View {
    @StateObject private var model = Samples()
    private let columns = Array(repeating: GridItem(.flexible(), spacing: 6), count: 4)

    var body: some View {
        ScrollView {
            VStack(alignment: .leading, spacing: 12) {
                Text(model.generator?.metadata.entry ?? "ganzoo").font(.title2).bold()
                if let message = model.message { Text(message).foregroundColor(.red) }
                LazyVGrid(columns: columns, spacing: 6) {
                    ForEach(model.samples) { sample in image(sample) }
                }
                HStack {
                    Button("New") { model.seed += 1; model.renew() }
                    Spacer()
                    Button("Film") { model.film() }.disabled(model.chosen.count != 2)
                    Spacer()
                    Button("Save PNG") { model.save() }
                }
                .buttonStyle(.bordered)
                Text("Tap an image to change it with the sliders, a second one for a film between them.").font(.footnote)
                controls
            }
            .padding()
        }
    }

    private func image(_ sample: Samples.Sample) -> some View {
        let order = model.chosen.firstIndex(of: sample.id)
        return Button { model.choose(sample.id) } label: {
            Group {
                if let image = sample.image {
                    Image(decorative: image, scale: 1).resizable()
                } else {
                    Color.gray.opacity(0.2)
                }
            }
            .aspectRatio(1, contentMode: .fit)
            .overlay(Rectangle().stroke(order == 0 ? Color.blue : Color.red, lineWidth: order == nil ? 0 : 3))
        }
        .accessibilityLabel("Image \(sample.id + 1)")
        .accessibilityAddTraits(order == nil ? [] : .isSelected)
    }

    @ViewBuilder private var controls: some View {
        if let generator = model.generator {
            Stepper("Seed \(model.seed)", value: $model.seed, in: 0...UInt64(UInt32.max)) { editing in
                if !editing { model.renew() }
            }
            if generator.metadata.classes > 0 {
                Picker("Class", selection: $model.classId) {
                    Text("all in turn").tag(-1)
                    ForEach(0..<generator.metadata.classes, id: \.self) { index in
                        Text(index < generator.metadata.class_names.count ? generator.metadata.class_names[index] : "\(index)").tag(index)
                    }
                }
                .onChange(of: model.classId) { _ in model.renew() }
            }
            Text("Truncation \(model.truncation, specifier: "%.2f")")
            Slider(value: $model.truncation, in: 0.05...1.2) { editing in
                if !editing { model.draw(model.samples.map { $0.id }) }
            }
            ForEach(0..<min(generator.directions.count, 4), id: \.self) { index in
                Text("Direction \(index + 1)")
                Slider(value: shift(index), in: -4...4)
            }
        }
    }

    private func shift(_ direction: Int) -> Binding<Float> {
        Binding(
            get: { model.samples.isEmpty ? 0 : model.samples[model.chosen.first ?? 0].shifts[direction] },
            set: { model.shift(direction, by: $0) })
    }
}
